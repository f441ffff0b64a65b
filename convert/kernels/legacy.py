"""Blocks of 32 weights of the older types with an importance matrix; it weighs them by the whole row too."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from glm_gguf.convert.kernels.affine import Block, clamped
from glm_gguf.convert.kernels.affine import search as affine_search
from glm_gguf.convert.kernels.blocks import ZERO, gather, gather_importance, weigh_by_importance
from glm_gguf.convert.kernels.compiled import inlined, subroutine
from glm_gguf.convert.kernels.half import to_half
from glm_gguf.convert.kernels.lanes import WIDTH, Bytes, Floats, fill, floor, load, load_at, store, store_bytes
from glm_gguf.convert.kernels.symmetric import search as symmetric_search
from glm_gguf.convert.kernels.symmetric import signed_level

SIZE = 32
NIBBLE = np.float32(16)
MINUS_ONE = np.float32(-1)


class Scratch(NamedTuple):
    """Working memory: values, weights and levels (SIZE, WIDTH); what the search found, (3, WIDTH)."""

    x: Floats
    weights: Floats
    levels: Floats
    found: Floats
    """Step, minimum, and mean square of the lane's row."""
    mean_squares: Floats
    """(rows,)"""
    row: Floats
    """(SIZE,): levels of one block."""


@inlined
def make_scratch(rows: Floats, columns: int) -> Scratch:
    """Memory for rows (n · columns,), and the rows' mean squares: Σ x² in order, as ggml sums them."""
    mean_squares = np.zeros(len(rows) // columns, np.float32)
    for row in range(len(mean_squares)):
        total = ZERO
        for i in range(row * columns, (row + 1) * columns):
            total += rows[i] * rows[i]
        mean_squares[row] = total / np.float32(columns)
    block = (SIZE, WIDTH)
    x, weights, levels = np.zeros(block, np.float32), np.zeros(block, np.float32), np.zeros(block, np.float32)
    return Scratch(x, weights, levels, np.zeros((3, WIDTH), np.float32), mean_squares, np.zeros(SIZE, np.float32))


@subroutine
def load_blocks(scratch: Scratch, rows: Floats, importance: Floats, first: int) -> int:
    """Copy blocks `first`… into lanes with importance · sqrt(mean x² of the row + x²); returns how many."""
    count = gather(rows, first, scratch.x)
    gather_importance(importance, first, count, scratch.weights)
    for lane in range(count):
        scratch.found[2, lane] = scratch.mean_squares[(first + lane) * SIZE // len(importance)]
    weigh_by_importance(scratch.x, scratch.weights, load(scratch.found, 2), scratch.weights)
    return count


@subroutine
def fit_symmetric(scratch: Scratch, nmax: np.float32) -> None:
    """Step and levels of the blocks by make_qx_quants; `nmax` is the level of 0."""
    fit = symmetric_search(scratch.x, scratch.weights, nmax)
    for i in range(SIZE):
        store(scratch.levels, i, signed_level(fit.iscale * load(scratch.x, i), nmax) + fit.zero)
    store(scratch.found, 0, fit.scale)
    store(scratch.found, 1, fill(ZERO))


@subroutine
def fit_affine(scratch: Scratch, highest: np.float32, numerators: Floats) -> None:
    """Step, minimum and levels of the blocks by make_qkx3_quants."""
    fit = affine_search(Block(scratch.x, scratch.weights, scratch.levels), highest, numerators, False)
    for i in range(SIZE):
        store(scratch.levels, i, clamped(fit.iscale * (load(scratch.x, i) - fit.low), ZERO, highest))
    store(scratch.found, 0, fit.scale)
    store(scratch.found, 1, fit.minus_min * MINUS_ONE)


@inlined
def halves(scratch: Scratch, lane: int) -> tuple[int, int]:
    """A block's step and minimum in half precision."""
    return to_half(scratch.found[0, lane]), to_half(scratch.found[1, lane])


@inlined
def put_nibbles(scratch: Scratch, lane: int, out: Bytes) -> int:
    """Pack a lane's levels into 16 bytes, the first half in the low nibbles; returns their fifth bits, first lowest."""
    high = 0
    for i in range(SIZE):
        scratch.row[i] = scratch.levels[i, lane]
        high |= (int(scratch.row[i]) >> 4) << i
    near, far = load_at(scratch.row, 0), load_at(scratch.row, WIDTH)
    near, far = near - NIBBLE * floor(near / NIBBLE), far - NIBBLE * floor(far / NIBBLE)
    store_bytes(out, 0, near + NIBBLE * far)
    return high


@inlined
def put_word(out: Bytes, offset: int, bits: int) -> None:
    """Write 32 bits, little-endian."""
    for i in range(4):
        out[offset + i] = bits >> 8 * i & 255
