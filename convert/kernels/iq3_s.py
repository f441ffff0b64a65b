"""IQ3_S: twin of quantize_row_iq3_s_impl (ggml-quants.c)."""

from __future__ import annotations

from functools import cache

import numpy as np
from gguf import GGMLQuantizationType

from glm_gguf.convert.kernels.blocks import ONE, TWO, ZERO
from glm_gguf.convert.kernels.compiled import subroutine
from glm_gguf.convert.kernels.grid_blocks import Scratch, Shape, largest_scale, numerators, scale_level
from glm_gguf.convert.kernels.grid_search import fit
from glm_gguf.convert.kernels.grid_super import plain_kernel, weighted_kernel
from glm_gguf.convert.kernels.grids import Form, Grid, grid_of, with_grid
from glm_gguf.convert.kernels.half import put_half, to_half
from glm_gguf.convert.kernels.lanes import Bytes

BLOCKS, SIZE, DIMS, BITS, BYTES = 8, 32, 4, 3, 110
NUMERATORS = numerators(15, 0.2, 9)
SMALLEST = np.float32(2.0**-149)
SHAPE = Shape(*(DIMS, BITS, np.float32(7), SMALLEST), even_signs=ZERO, on_grid=ZERO, tracked=ONE, all_groups=True)
STEPS, FACTOR = np.float32(31), np.float32(1.033)


def all_points() -> Bytes:
    """Eight blocks with d = 1 whose 512 indices count up; the ninth bits stand apart."""
    blocks = np.zeros((8, BYTES), np.uint8)
    blocks[:, 1] = 0x3C
    blocks[:, 2:66] = np.arange(256).reshape(4, 64)[[0, 1, 2, 3] * 2]
    blocks[4:, 66:74] = 255
    return blocks


@subroutine
def _fit(scratch: Scratch, j: int, grid: Grid) -> None:
    fit(scratch, SHAPE, j, NUMERATORS, grid)


@subroutine
def _is_zero(scratch: Scratch, j: int, lane: int) -> bool:
    """Whether all weights of a block are 0."""
    largest = ZERO
    for i in range(j * SIZE, (j + 1) * SIZE):
        largest = max(largest, abs(scratch.x[i, lane]))
    return bool(largest == ZERO)


@subroutine
def _pack(scratch: Scratch, grid: Grid, lane: int, out: Bytes) -> None:
    """block_iq3_s: d, 64 indices, their ninth bits, signs, levels.

    As in ggml, indices and signs behind a block of zeros move to its place; the ninth bits and levels do not.
    """
    largest = largest_scale(scratch, lane)
    d = largest / STEPS
    out[:] = 0
    put_half(out, 0, to_half(d * FACTOR))
    at = 0
    for j in range(BLOCKS):
        if scratch.scales[j, lane] == ZERO and _is_zero(scratch, j, lane):
            continue
        high = 0
        for k in range(8):
            index = int(grid.indices[int(scratch.codes[8 * j + k, lane])])
            out[2 + 8 * at + k] = index & 255
            high |= index >> 8 << k
        out[66 + j] = high
        for k in range(4):
            out[74 + 4 * at + k] = int(scratch.signs[4 * j + k, lane])
        at += 1
    for j in range(BLOCKS if largest > ZERO else 0):
        out[106 + j // 2] |= scale_level(scratch, j, lane, ONE / d) << 4 * (j % 2)


FORM = Form(
    *(GGMLQuantizationType.IQ3_S, DIMS, BITS),
    shells=3,
    digest="acb8a458f699e571cf55c9270a4bc15facd6653b40450ce1f449f345c95e4407",
)
_grid = cache(lambda: grid_of(FORM, all_points()))
quantise = with_grid(plain_kernel("IQ3_S", SIZE, DIMS, _fit, _pack), _grid)
quantise_weighted = with_grid(weighted_kernel("IQ3_S", SIZE, DIMS, TWO, _fit, _pack), _grid)
