"""IQ2_S with an importance matrix: twin of quantize_row_iq2_s_impl (ggml-quants.c)."""

from __future__ import annotations

import numpy as np
from gguf import GGMLQuantizationType

from glm_gguf.convert.kernels.blocks import ONE, TWO, ZERO
from glm_gguf.convert.kernels.compiled import subroutine
from glm_gguf.convert.kernels.grid_blocks import Scratch, Shape, largest_scale, numerators, scale_level
from glm_gguf.convert.kernels.grid_search import fit
from glm_gguf.convert.kernels.grid_super import weighted_kernel
from glm_gguf.convert.kernels.grids import Form, Grid, grid_of, with_grid
from glm_gguf.convert.kernels.half import put_half, to_half
from glm_gguf.convert.kernels.lanes import Bytes

BLOCKS, SIZE, DIMS, BITS, BYTES = 16, 16, 8, 2, 82
NUMERATORS = numerators(5, 0.1, 9)
SHAPE = Shape(
    *(DIMS, BITS, np.float32(2), np.float32(1e-8)), even_signs=ZERO, on_grid=ONE, tracked=ONE, all_groups=False
)
STEPS, FACTOR = np.float32(31), np.float32(0.9875)


def all_points() -> Bytes:
    """32 blocks with d = 1 whose 1024 indices count up; a byte holds the high bits of four."""
    blocks = np.zeros((32, BYTES), np.uint8)
    blocks[:, 1] = 0x3C
    blocks[:, 2:34] = (np.arange(1024) % 256).reshape(32, 32)
    blocks[:, 66:74] = 0b01010101 * np.arange(4).repeat(8)[:, None]
    return blocks


@subroutine
def _fit(scratch: Scratch, j: int, grid: Grid) -> None:
    fit(scratch, SHAPE, j, NUMERATORS, grid)


@subroutine
def _pack(scratch: Scratch, grid: Grid, lane: int, out: Bytes) -> None:
    """block_iq2_s: d, 32 indices, 32 times eight signs, the indices' high bits, levels."""
    largest = largest_scale(scratch, lane)
    d = largest / STEPS
    out[:] = 0
    put_half(out, 0, to_half(d * FACTOR))
    for k in range(2 * BLOCKS):
        index = int(grid.indices[int(scratch.codes[k, lane])])
        out[2 + k] = index & 255
        out[34 + k] = int(scratch.signs[k, lane])
        out[66 + k // 4] |= index >> 8 << 2 * (k % 4)
    for j in range(BLOCKS if largest > ZERO else 0):
        out[74 + j // 2] |= scale_level(scratch, j, lane, ONE / d) << 4 * (j % 2)


FORM = Form(
    *(GGMLQuantizationType.IQ2_S, DIMS, BITS),
    shells=1,
    digest="1d4ca1e2fbd2be073bef55f6582ad20109dc746ebd39b5c0780d57ebacc73024",
)
quantise_weighted = with_grid(
    weighted_kernel("IQ2_S", SIZE, DIMS, TWO, _fit, _pack), lambda: grid_of(FORM, all_points())
)
