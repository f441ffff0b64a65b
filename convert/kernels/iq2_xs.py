"""IQ2_XS with an importance matrix: twin of quantize_row_iq2_xs_impl (ggml-quants.c)."""

from __future__ import annotations

import numpy as np
from gguf import GGMLQuantizationType

from glm_gguf.convert.kernels.blocks import ONE, ZERO
from glm_gguf.convert.kernels.compiled import subroutine
from glm_gguf.convert.kernels.grid_blocks import Scratch, Shape, largest_scale, numerators, scale_level
from glm_gguf.convert.kernels.grid_search import fit
from glm_gguf.convert.kernels.grid_super import weighted_kernel
from glm_gguf.convert.kernels.grids import Form, Grid, grid_of, with_grid
from glm_gguf.convert.kernels.half import put_half, to_half
from glm_gguf.convert.kernels.lanes import Bytes

BLOCKS, SIZE, DIMS, BITS, BYTES = 16, 16, 8, 2, 74
NUMERATORS = numerators(5, 0.1, 9)
SHAPE = Shape(
    *(DIMS, BITS, np.float32(2), np.float32(1e-15)), even_signs=ONE, on_grid=ONE, tracked=ONE, all_groups=False
)
STEPS = np.float32(31)


def all_points() -> Bytes:
    """Sixteen blocks with d = 1 whose 512 indices count up."""
    blocks = np.zeros((16, BYTES), np.uint8)
    blocks[:, 1] = 0x3C
    blocks[:, 2:66] = np.arange(512, dtype="<u2").view(np.uint8).reshape(16, 64)
    return blocks


@subroutine
def _fit(scratch: Scratch, j: int, grid: Grid) -> None:
    fit(scratch, SHAPE, j, NUMERATORS, grid)


@subroutine
def _pack(scratch: Scratch, grid: Grid, lane: int, out: Bytes) -> None:
    """block_iq2_xs: d, 32 times nine bits of index and seven signs, then levels."""
    largest = largest_scale(scratch, lane)
    d = largest / STEPS
    out[:] = 0
    put_half(out, 0, to_half(d))
    for j in range(BLOCKS if largest > ZERO else 0):
        for k in range(2 * j, 2 * j + 2):
            both = int(grid.indices[int(scratch.codes[k, lane])]) | int(scratch.signs[k, lane]) << 9
            put_half(out, 2 + 2 * k, both)
        out[66 + j // 2] |= scale_level(scratch, j, lane, ONE / d) << 4 * (j % 2)


FORM = Form(
    *(GGMLQuantizationType.IQ2_XS, DIMS, BITS),
    shells=2,
    digest="e9567eb15257b717a029c8c1e574ffd87af0c95090552eff83eb6e09b1211046",
)
quantise_weighted = with_grid(
    weighted_kernel("IQ2_XS", SIZE, DIMS, ONE, _fit, _pack), lambda: grid_of(FORM, all_points())
)
