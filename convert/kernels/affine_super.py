"""Super-blocks of Q2_K, Q4_K and Q5_K: blocks with scale and minimum, themselves quantised under one step each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from glm_gguf.convert.kernels.affine import Block, Fit, clamped, level, search
from glm_gguf.convert.kernels.blocks import (
    ONE,
    SUPER,
    ZERO,
    sum_of_squares,
    weigh_by_importance,
)
from glm_gguf.convert.kernels.compiled import inlined, part
from glm_gguf.convert.kernels.half import INFINITE, to_half
from glm_gguf.convert.kernels.lanes import (
    WIDTH,
    Floats,
    Lanes,
    absolute,
    fill,
    load,
    load_at,
    select,
    square_root,
    store,
    store_at,
)
from glm_gguf.convert.kernels.positive import fitted_levels, proportional_levels

EXACT = 2  # row of Room.steps


class Room(NamedTuple):
    """Working memory for WIDTH super-blocks: (values or blocks, WIDTH) each."""

    x: Floats
    importance: Floats
    weights: Floats
    levels: Floats
    scales: Floats
    mins: Floats
    iscales: Floats
    lows: Floats
    sums: Floats
    """Σ of a block's weights."""
    scale_levels: Floats
    min_levels: Floats
    steps: Floats
    """(3, WIDTH): step of the scales, of the minimums, and 1 where every search was exact."""
    row: Floats
    """(SUPER,): levels of one super-block in the order of its weights."""


@inlined
def make_room(blocks: int) -> Room:
    """Memory for super-blocks of `blocks` blocks."""
    big, small = (SUPER, WIDTH), (blocks, WIDTH)
    block = (SUPER // blocks, WIDTH)
    values = np.zeros(big, np.float32), np.zeros(big, np.float32)
    search_memory = np.zeros(block, np.float32), np.zeros(block, np.float32)
    found = np.zeros(small, np.float32), np.zeros(small, np.float32), np.zeros(small, np.float32)
    more = np.zeros(small, np.float32), np.zeros(small, np.float32), np.zeros(small, np.float32)
    last = np.zeros(small, np.float32), np.zeros((3, WIDTH), np.float32), np.zeros(SUPER, np.float32)
    return Room(*values, *search_memory, *found, *more, *last)


@inlined
def _keep(room: Room, j: int, fit: Fit) -> None:
    store(room.scales, j, fit.scale)
    store(room.mins, j, fit.minus_min)
    store(room.iscales, j, fit.iscale)
    store(room.lows, j, fit.low)
    store(room.steps, EXACT, select(fit.exact, load(room.steps, EXACT), ZERO))


@part
def fit_by_size(room: Room, highest: np.float32, numerators: Floats, mad: bool) -> None:
    """Search every block, weighed by |x| (`mad`), or by sqrt(mean x²) + |x| as in quantize_row_q4_K_ref."""
    size = len(room.weights)
    store(room.steps, EXACT, fill(ONE))
    for j in range(len(room.scales)):
        x = room.x[j * size : (j + 1) * size]
        average = fill(ZERO)
        if not mad:
            average = square_root(sum_of_squares(x) / np.float32(size))
        for i in range(size):
            store(room.weights, i, average + absolute(load(x, i)))
        _keep(room, j, search(Block(x, room.weights, room.levels), highest, numerators, mad))


@part
def fit_by_importance(room: Room, highest: np.float32, numerators: Floats, sigma2: Lanes) -> None:
    """Search every block, weighed by importance · sqrt(sigma2 + x²); keeps the sums of these weights."""
    size = len(room.weights)
    store(room.steps, EXACT, fill(ONE))
    for j in range(len(room.scales)):
        x = room.x[j * size : (j + 1) * size]
        store(room.sums, j, weigh_by_importance(x, room.importance[j * size : (j + 1) * size], sigma2, room.weights))
        _keep(room, j, search(Block(x, room.weights, room.levels), highest, numerators, False))


@part
def level_plainly(room: Room, highest: np.float32, cap: np.float32) -> None:
    """Quantise scales and minimums in proportion to their largest."""
    store(room.steps, 0, proportional_levels(room.scales, room.scale_levels, highest, cap))
    store(room.steps, 1, proportional_levels(room.mins, room.min_levels, highest, cap))


@part
def level_by_importance(room: Room, highest: np.float32) -> None:
    """Quantise scales and minimums with least error under the sums of the weights."""
    store(room.steps, 0, fitted_levels(room.scales, room.sums, room.scale_levels, highest))
    store(room.steps, 1, fitted_levels(room.mins, room.sums, room.min_levels, highest))


@inlined
def halves(room: Room, lane: int) -> tuple[int, int, bool]:
    """A super-block's two steps in half precision, and whether the kernel was exact on it."""
    d, dmin = to_half(room.steps[0, lane]), to_half(room.steps[1, lane])
    return d, dmin, room.steps[EXACT, lane] > ZERO and d & INFINITE != INFINITE and dmin & INFINITE != INFINITE


@inlined
def settle(
    room: Room, at: tuple[int, int], values: Floats, step: tuple[np.float32, np.float32], highest: np.float32
) -> None:
    """Final levels of a block, `at` = (lane, j): nearest((x + minimum) / scale), or the search's where scale is 0."""
    lane, j = at
    scale, minimum = step
    size = len(room.weights)
    for i in range(j * size, (j + 1) * size, WIDTH):
        x = load_at(values, i)
        if scale != ZERO:
            found = clamped((x + minimum) / scale, ZERO, highest)
        else:
            found = level(room.iscales[j, lane] * (x - room.lows[j, lane]), highest)
        store_at(room.row, i, found)
