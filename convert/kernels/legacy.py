"""Blocks of 32 of the older types with an importance matrix, whose weights depend on the whole row."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from glm_gguf.convert.kernels.affine import Block, level
from glm_gguf.convert.kernels.affine import search as affine_search
from glm_gguf.convert.kernels.blocks import ONE, ZERO, gather, gather_importance, weigh_by_importance
from glm_gguf.convert.kernels.compiled import inlined, part
from glm_gguf.convert.kernels.half import INFINITE, to_half
from glm_gguf.convert.kernels.lanes import WIDTH, Bytes, Floats, fill, load, load_at, select, store, store_bytes, whole
from glm_gguf.convert.kernels.symmetric import search as symmetric_search
from glm_gguf.convert.kernels.symmetric import signed_level

SIZE = 32
NIBBLE = np.float32(16)
MINUS_ONE = np.float32(-1)


class Room(NamedTuple):
    """Working memory: values, weights and levels (SIZE, WIDTH); what the search found, (4, WIDTH)."""

    x: Floats
    weights: Floats
    levels: Floats
    found: Floats
    """Step, minimum, 1 where the search was exact, and mean square of the lane's row."""
    mean_squares: Floats
    """(rows,)"""
    row: Floats
    """(SIZE,): levels of one block."""


@inlined
def make_room(rows: Floats, columns: int) -> Room:
    """Memory for rows (n · columns,), and the rows' mean squares: Σ x² in order, as ggml sums them."""
    mean_squares = np.zeros(len(rows) // columns, np.float32)
    for row in range(len(mean_squares)):
        total = ZERO
        for i in range(row * columns, (row + 1) * columns):
            total += rows[i] * rows[i]
        mean_squares[row] = total / np.float32(columns)
    block = (SIZE, WIDTH)
    x, weights, levels = np.zeros(block, np.float32), np.zeros(block, np.float32), np.zeros(block, np.float32)
    return Room(x, weights, levels, np.zeros((4, WIDTH), np.float32), mean_squares, np.zeros(SIZE, np.float32))


@part
def load_blocks(room: Room, rows: Floats, importance: Floats, first: int) -> int:
    """Lay blocks `first`… across lanes with importance · sqrt(mean x² of the row + x²); returns how many."""
    count = gather(rows, first, room.x)
    gather_importance(importance, first, count, room.weights)
    for lane in range(count):
        room.found[3, lane] = room.mean_squares[(first + lane) * SIZE // len(importance)]
    weigh_by_importance(room.x, room.weights, load(room.found, 3), room.weights)
    return count


@part
def fit_symmetric(room: Room, nmax: np.float32) -> None:
    """Step and levels of the blocks by make_qx_quants; `nmax` is the level of 0."""
    fit = symmetric_search(room.x, room.weights, nmax)
    for i in range(SIZE):
        store(room.levels, i, signed_level(fit.iscale * load(room.x, i), nmax) + fit.zero)
    store(room.found, 0, fit.scale)
    store(room.found, 1, fill(ZERO))
    store(room.found, 2, fill(ONE))


@part
def fit_affine(room: Room, highest: np.float32, numerators: Floats) -> None:
    """Step, minimum and levels of the blocks by make_qkx3_quants."""
    fit = affine_search(Block(room.x, room.weights, room.levels), highest, numerators, False)
    for i in range(SIZE):
        store(room.levels, i, level(fit.iscale * (load(room.x, i) - fit.low), highest))
    store(room.found, 0, fit.scale)
    store(room.found, 1, fit.minus_min * MINUS_ONE)
    store(room.found, 2, select(fit.exact, ONE, ZERO))


@inlined
def halves(room: Room, lane: int) -> tuple[int, int, bool]:
    """A block's step and minimum in half precision, and whether the kernel was exact on it."""
    d, minimum = to_half(room.found[0, lane]), to_half(room.found[1, lane])
    return d, minimum, room.found[2, lane] > ZERO and d & INFINITE != INFINITE and minimum & INFINITE != INFINITE


@inlined
def put_nibbles(room: Room, lane: int, out: Bytes) -> int:
    """Pack a lane's levels into 16 bytes, the first half in the low nibbles; returns their fifth bits, first lowest."""
    high = 0
    for i in range(SIZE):
        room.row[i] = room.levels[i, lane]
        high |= (int(room.row[i]) >> 4) << i
    near, far = load_at(room.row, 0), load_at(room.row, WIDTH)
    near, far = near - NIBBLE * whole(near / NIBBLE), far - NIBBLE * whole(far / NIBBLE)
    store_bytes(out, 0, near + NIBBLE * far)
    return high


@inlined
def put_word(out: Bytes, offset: int, bits: int) -> None:
    """Write 32 bits, little-endian."""
    for i in range(4):
        out[offset + i] = bits >> 8 * i & 255
