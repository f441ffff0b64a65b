"""IQ3_XXS with an importance matrix: twin of quantize_row_iq3_xxs_impl (ggml-quants.c)."""

from __future__ import annotations

import numpy as np
from gguf import GGMLQuantizationType

from glm_gguf.convert.kernels.blocks import (
    ONE,
    SUPER,
    TWO,
    ZERO,
    gather,
    gather_importance,
    sum_of_squares,
    weigh_by_importance,
)
from glm_gguf.convert.kernels.compiled import kernel, subroutine
from glm_gguf.convert.kernels.grid_search import Scratch, Shape, fit, largest_scale, make_scratch, scale_level
from glm_gguf.convert.kernels.grids import Form, Grid, grid_of, with_grid
from glm_gguf.convert.kernels.half import put_half, to_half
from glm_gguf.convert.kernels.lanes import WIDTH, Bytes, Floats
from glm_gguf.convert.kernels.legacy import put_word

BLOCKS, SIZE, DIMS, BYTES = 8, 32, 4, 98
NUMERATORS = np.float32(15) + np.arange(-15, 16, dtype=np.float32) * np.float32(0.2)
SHAPE = Shape(*(DIMS, 3, np.float32(7), np.float32(1e-8)), even_signs=ONE, on_grid=ONE, tracked=ONE, all_groups=False)
STEPS, FACTOR = np.float32(31), np.float32(1.0125)


def all_points() -> Bytes:
    """Four blocks with d = 1 whose 256 indices count up."""
    blocks = np.zeros((4, BYTES), np.uint8)
    blocks[:, 1] = 0x3C
    blocks[:, 2:66] = np.arange(256).reshape(4, 64)
    return blocks


@subroutine
def _pack(scratch: Scratch, grid: Grid, lane: int, out: Bytes) -> None:
    """block_iq3_xxs: d, 64 indices, then for each block four times seven signs and a level."""
    largest = largest_scale(scratch, lane)
    d = largest / STEPS
    out[:] = 0
    put_half(out, 0, to_half(d * FACTOR))
    for j in range(BLOCKS if largest > ZERO else 0):
        for k in range(8 * j, 8 * j + 8):
            out[2 + k] = grid.indices[int(scratch.codes[k, lane])]
        word = scale_level(scratch, j, lane, ONE / d) << 28
        for k in range(4):
            word |= int(scratch.signs[4 * j + k, lane]) << 7 * k
        put_word(out, 66 + 4 * j, word)


@kernel
def _quantise_weighted(rows: Floats, importance: Floats, grid: Grid, out: Bytes) -> None:
    """Quantise rows (n · 256,) to out (n · 98,)."""
    scratch = make_scratch(SIZE, DIMS)
    for first in range(0, len(rows) // SUPER, WIDTH):
        count = gather(rows, first, scratch.x)
        gather_importance(importance, first, count, scratch.weights)
        sigma2 = sum_of_squares(scratch.x) * (TWO / np.float32(SUPER))
        weigh_by_importance(scratch.x, scratch.weights, sigma2, scratch.weights)
        for j in range(BLOCKS):
            fit(scratch, SHAPE, j, NUMERATORS, grid)
        for lane in range(count):
            _pack(scratch, grid, lane, out[(first + lane) * BYTES : (first + lane + 1) * BYTES])


FORM = Form(
    GGMLQuantizationType.IQ3_XXS,
    DIMS,
    3,
    shells=2,
    digest="e86540e4e7b2d3375c137ffe84467dc402396c6da24273f9007b5db112172f4c",
)
quantise_weighted = with_grid(_quantise_weighted, lambda: grid_of(FORM, all_points()))
