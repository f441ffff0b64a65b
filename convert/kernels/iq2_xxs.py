"""IQ2_XXS with an importance matrix: twin of quantize_row_iq2_xxs_impl (ggml-quants.c)."""

from __future__ import annotations

import numpy as np
from gguf import GGMLQuantizationType

from glm_gguf.convert.kernels.blocks import ONE, ZERO
from glm_gguf.convert.kernels.compiled import subroutine
from glm_gguf.convert.kernels.grid_blocks import (
    Scratch,
    Shape,
    finish,
    largest_scale,
    numerators,
    scale_level,
    split_signs,
)
from glm_gguf.convert.kernels.grid_search import search
from glm_gguf.convert.kernels.grid_super import weighted_kernel
from glm_gguf.convert.kernels.grids import Form, Grid, grid_of, with_grid
from glm_gguf.convert.kernels.half import put_half, to_half
from glm_gguf.convert.kernels.lanes import Bytes
from glm_gguf.convert.kernels.legacy import put_word
from glm_gguf.convert.kernels.positive import fitted_levels

BLOCKS, SIZE, DIMS, BITS, BYTES = 8, 32, 8, 2, 66
NUMERATORS = numerators(5, 0.1, 6)
SHAPE = Shape(
    *(DIMS, BITS, np.float32(2), np.float32(1e-15)), even_signs=ONE, on_grid=ZERO, tracked=ZERO, all_groups=True
)
STEPS, THREE, FOUR = np.float32(31), np.float32(3), np.float32(4)


def all_points() -> Bytes:
    """Eight blocks with d = 1 whose 256 indices count up, four bytes before each four bytes of signs."""
    blocks = np.zeros((8, BYTES), np.uint8)
    blocks[:, 1] = 0x3C
    blocks[:, 2:].reshape(8, 8, 8)[:, :, :4] = np.arange(256).reshape(8, 8, 4)
    return blocks


@subroutine
def _fit(scratch: Scratch, j: int, grid: Grid) -> None:
    """A search with five levels of its own comes first (make_qp_quants)."""
    largest = split_signs(scratch, SHAPE, j)
    weights = scratch.weights[j * SIZE : (j + 1) * SIZE]
    scale = fitted_levels(scratch.sizes, weights, scratch.levels, FOUR)
    divisor = scale * THREE
    found = search(scratch, SHAPE, j, (scale, divisor), NUMERATORS, grid)
    finish(scratch, SHAPE, j, found, (largest < SHAPE.empty) | (divisor <= ZERO))


@subroutine
def _pack(scratch: Scratch, grid: Grid, lane: int, out: Bytes) -> None:
    """block_iq2_xxs: d, then for each block four indices, four times seven signs and a level."""
    largest = largest_scale(scratch, lane)
    d = largest / STEPS
    out[:] = 0
    put_half(out, 0, to_half(d))
    for j in range(BLOCKS if largest > ZERO else 0):
        word = scale_level(scratch, j, lane, ONE / d) << 28
        for k in range(4):
            out[2 + 8 * j + k] = grid.indices[int(scratch.codes[4 * j + k, lane])]
            word |= int(scratch.signs[4 * j + k, lane]) << 7 * k
        put_word(out, 6 + 8 * j, word)


FORM = Form(
    *(GGMLQuantizationType.IQ2_XXS, DIMS, BITS),
    shells=2,
    digest="886814bc08b031008eb1086cdbc5c3fae78eecc764a4a6742f8eb839b9f37ef6",
)
quantise_weighted = with_grid(
    weighted_kernel("IQ2_XXS", SIZE, DIMS, ONE, _fit, _pack), lambda: grid_of(FORM, all_points())
)
