"""IQ3_XXS with an importance matrix: twin of quantize_row_iq3_xxs_impl (ggml-quants.c)."""

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
from glm_gguf.convert.kernels.legacy import put_word

BLOCKS, SIZE, DIMS, BITS, BYTES = 8, 32, 4, 3, 98
NUMERATORS = numerators(15, 0.2, 15)
SHAPE = Shape(
    *(DIMS, BITS, np.float32(7), np.float32(1e-8)), even_signs=ONE, on_grid=ONE, tracked=ONE, all_groups=False
)
STEPS, FACTOR = np.float32(31), np.float32(1.0125)


def all_points() -> Bytes:
    """Four blocks with d = 1 whose 256 indices count up."""
    blocks = np.zeros((4, BYTES), np.uint8)
    blocks[:, 1] = 0x3C
    blocks[:, 2:66] = np.arange(256).reshape(4, 64)
    return blocks


@subroutine
def _fit(scratch: Scratch, j: int, grid: Grid) -> None:
    fit(scratch, SHAPE, j, NUMERATORS, grid)


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


FORM = Form(
    *(GGMLQuantizationType.IQ3_XXS, DIMS, BITS),
    shells=2,
    digest="e86540e4e7b2d3375c137ffe84467dc402396c6da24273f9007b5db112172f4c",
)
quantise_weighted = with_grid(
    weighted_kernel("IQ3_XXS", SIZE, DIMS, TWO, _fit, _pack), lambda: grid_of(FORM, all_points())
)
