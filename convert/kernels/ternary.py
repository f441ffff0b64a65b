"""Blocks of three levels, -1, 0 and 1 with a small shift: what IQ1_S and IQ1_M share.

ggml sorts the weights of a block and tries every pair of places that divide them into three levels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

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
from glm_gguf.convert.kernels.codes import odd_value
from glm_gguf.convert.kernels.compiled import inlined, kernel, subroutine
from glm_gguf.convert.kernels.grid_search import Compared, Step, closest
from glm_gguf.convert.kernels.grids import Form, Grid, grid_of
from glm_gguf.convert.kernels.half import HALF
from glm_gguf.convert.kernels.lanes import WIDTH, Bytes, Floats, Lanes, Mask, absolute, fill, floor, load, select, store

DIMS, BITS, BLOCK_BYTES = 8, 2, 50
SHIFT = np.float32(0.125)
LOWEST = -np.finfo(np.float32).max
THREE_HALVES, FOUR, SIXTY_FOUR = np.float32(1.5), np.float32(4), np.float32(64)
INSIDE = np.float32(0.5 - 2.0**-10)
SMALL = np.float32(2.0**-100)
UPPER = np.float32(1 << BITS * DIMS)


class Scratch(NamedTuple):
    """Working memory: values and weights (SUPER, WIDTH), then a block's, then what was found."""

    x: Floats
    weights: Floats
    sorted_x: Floats
    """(size, WIDTH), and so are the weights and places of the sorted values."""
    sorted_weights: Floats
    order: Floats
    sums: Floats
    """(4 · (size + 1), WIDTH): sums of the first weighted values and of their weights, in one or two halves."""
    levels: Floats
    """(size, WIDTH): 0 to 2."""
    points: Floats
    """(groups, WIDTH): codes of the levels; those near a border are in the upper half."""
    steps: Floats
    """(1 + groups, WIDTH): scale, and the shift of each group."""
    codes: Floats
    """(SUPER / 8, WIDTH): the codes that were chosen."""
    shifts: Floats
    """(SUPER / 8, WIDTH): the shift of each group, by its sign; 0 in a block that has none."""
    scales: Floats
    """(blocks, WIDTH)"""


@inlined
def make_scratch(size: int) -> Scratch:
    """Memory for blocks of `size` weights."""
    big, block, groups = (SUPER, WIDTH), (size, WIDTH), (SUPER // DIMS, WIDTH)
    values = np.zeros(big, np.float32), np.zeros(big, np.float32), np.zeros(block, np.float32)
    search = np.zeros(block, np.float32), np.zeros(block, np.float32), np.zeros((4 * size + 4, WIDTH), np.float32)
    found = np.zeros(block, np.float32), np.zeros((size // DIMS, WIDTH), np.float32)
    last = np.zeros((1 + size // DIMS, WIDTH), np.float32), np.zeros(groups, np.float32), np.zeros(groups, np.float32)
    return Scratch(*values, *search, *found, *last, np.zeros((SUPER // size, WIDTH), np.float32))


@inlined
def _put_in_order(scratch: Scratch, i: int, j: int) -> None:
    """Exchange two places where the later value is smaller, or equal and from an earlier place: a stable order."""
    x, other = load(scratch.sorted_x, i), load(scratch.sorted_x, j)
    place, other_place = load(scratch.order, i), load(scratch.order, j)
    weight, other_weight = load(scratch.sorted_weights, i), load(scratch.sorted_weights, j)
    swap = (other < x) | ((other == x) & (other_place < place))
    store(scratch.sorted_x, i, select(swap, other, x))
    store(scratch.sorted_x, j, select(swap, x, other))
    store(scratch.order, i, select(swap, other_place, place))
    store(scratch.order, j, select(swap, place, other_place))
    store(scratch.sorted_weights, i, select(swap, other_weight, weight))
    store(scratch.sorted_weights, j, select(swap, weight, other_weight))


@subroutine
def sort(scratch: Scratch, j: int) -> Lanes:
    """Sort the values of block j by Batcher's odd-even merges, each lane by itself; returns the largest |x|."""
    size, largest = len(scratch.sorted_x), fill(ZERO)
    for i in range(size):
        x = load(scratch.x, j * size + i)
        largest = select(absolute(x) > largest, absolute(x), largest)
        store(scratch.sorted_x, i, x)
        store(scratch.sorted_weights, i, load(scratch.weights, j * size + i))
        store(scratch.order, i, fill(np.float32(i)))
    merged = 1
    while merged < size:
        distance = merged
        while distance > 0:
            for first in range(distance % merged, size - distance, 2 * distance):
                for i in range(first, first + distance):
                    if i // (2 * merged) == (i + distance) // (2 * merged):
                        _put_in_order(scratch, i, i + distance)
            distance //= 2
        merged *= 2
    return largest


@inlined
def set_levels(scratch: Scratch, divided: Lanes, scale: Lanes) -> Lanes:
    """Levels by the places where the sorted values divide, first · 64 + second; reversed for a negative scale.

    Returns the size of the scale.
    """
    size, second = len(scratch.levels), divided - SIXTY_FOUR * floor(divided / SIXTY_FOUR)
    first = (divided - second) / SIXTY_FOUR
    for i in range(size):
        level = select(first <= np.float32(i), ONE, ZERO) + select(second <= np.float32(i), ONE, ZERO)
        store(scratch.sorted_x, i, select(scale < ZERO, TWO - level, level))
    for lane in range(WIDTH):
        for i in range(size):
            scratch.levels[int(scratch.order[i, lane]), lane] = scratch.sorted_x[i, lane]
    return absolute(scale)


@inlined
def _store_points(scratch: Scratch, j: int, scale: Lanes) -> None:
    """The codes of the levels of block j; a value that is not well inside its level counts as near a border."""
    limit, inverse = select(scale > SMALL, INSIDE, -ONE), ONE / scale
    for k in range(len(scratch.points)):
        point, border, shift = fill(ZERO), fill(ZERO), load(scratch.steps, 1 + k)
        for i in range(DIMS - 1, -1, -1):
            level = load(scratch.levels, k * DIMS + i)
            value = load(scratch.x, j * len(scratch.levels) + k * DIMS + i) * inverse - shift + ONE
            value = select(value < TWO, value, TWO)
            value = select(value > ZERO, value, ZERO)
            border = select(absolute(value - level) > limit, ONE, border)
            point = point * FOUR + level
        store(scratch.points, k, point + border * UPPER)


@inlined
def value_of(scratch: Scratch, k: int, i: int, shift: Lanes) -> Lanes:
    """What level i of the code of group k stands for, before the scale."""
    return odd_value(load(scratch.codes, k), BITS * i, 3) * HALF - (THREE_HALVES - shift)


@inlined
def _refitted(scratch: Scratch, j: int, scale: Lanes) -> Lanes:
    """The best scale for the chosen points of block j, where they differ from the levels."""
    groups, beside = len(scratch.points), fill(ZERO)
    sum_qx, sum_q2 = fill(ZERO), fill(ZERO)
    for k in range(groups):
        code, point = load(scratch.codes, j * groups + k), load(scratch.points, k)
        beside = select((code == point) | (code + UPPER == point), beside, ONE)
        for i in range(DIMS):
            n = (j * groups + k) * DIMS + i
            q, weight = value_of(scratch, j * groups + k, i, load(scratch.steps, 1 + k)), load(scratch.weights, n)
            sum_qx = sum_qx + weight * q * load(scratch.x, n)
            sum_q2 = sum_q2 + weight * q * q
    return select((beside > ZERO) & (sum_qx > ZERO) & (sum_q2 > ZERO), sum_qx / sum_q2, scale)


@inlined
def fit_points(scratch: Scratch, j: int, scale: Lanes, none: Mask, grid: Grid) -> None:
    """Choose points and scale of block j, nothing where `none`; shifts of its groups are in `steps`."""
    groups, size = len(scratch.points), len(scratch.levels)
    _store_points(scratch, j, scale)
    store(scratch.steps, 0, scale)
    rows = slice(j * size, (j + 1) * size)
    compared = Compared(scratch.points, scratch.x[rows], scratch.weights[rows])
    for lane in range(WIDTH):
        for k in range(groups):
            step = Step(scratch.steps[0, lane], HALF, THREE_HALVES - scratch.steps[1 + k, lane])
            scratch.codes[j * groups + k, lane] = closest(compared, (DIMS, BITS), (k, lane), step, grid)
    store(scratch.scales, j, select(none, ZERO, _refitted(scratch, j, scale)))
    for k in range(groups):
        n = j * groups + k
        store(scratch.codes, n, select(none, ZERO, load(scratch.codes, n)))
        store(scratch.shifts, n, select(none, ZERO, load(scratch.steps, 1 + k)))


@inlined
def largest_of(scales: Floats) -> Lanes:
    """The largest scale of each lane."""
    largest = fill(ZERO)
    for j in range(len(scales)):
        scale = load(scales, j)
        largest = select(scale > largest, scale, largest)
    return largest


def all_points() -> Bytes:
    """64 blocks of IQ1_S with d = 1 whose 2048 indices count up; two bytes hold the high bits of four."""
    blocks, indices = np.zeros((64, BLOCK_BYTES), np.uint8), np.arange(2048).reshape(64, 8, 4)
    blocks[:, 1] = 0x3C
    blocks[:, 2:34] = (indices % 256).reshape(64, 32)
    high = (indices >> 8 << 3 * np.arange(4)).sum(axis=2).astype("<u2")
    blocks[:, 34:] = high.view(np.uint8).reshape(64, 16)
    return blocks


FORM = Form(
    *(GGMLQuantizationType.IQ1_S, DIMS, BITS),
    shells=3,
    digest="bf92c60e2ed15644d2d948b652a55624cc35699ef5c8e0337258e332f8c47b48",
)
grid = cache(lambda: grid_of(FORM, all_points()))


def weighted_kernel(
    type_: str,
    size: int,
    fit: Callable[[Scratch, int, Grid], None],
    level_scales: Callable[[Scratch], None],
    pack: Callable[[Scratch, Grid, int, Bytes], None],
) -> Callable[[Floats, Floats, Grid, Bytes], None]:
    """A kernel over rows (n · 256,), importance (columns,), grid and out.

    `fit` searches block j of every lane, `level_scales` puts the largest scale into `steps`, `pack` writes a lane.
    """

    def quantise_weighted(rows: Floats, importance: Floats, grid: Grid, out: Bytes) -> None:
        scratch = make_scratch(size)
        n_bytes = len(out) // (len(rows) // SUPER)
        for first in range(0, len(rows) // SUPER, WIDTH):
            count = gather(rows, first, scratch.x)
            gather_importance(importance, first, count, scratch.weights)
            sigma2 = sum_of_squares(scratch.x) * (TWO / np.float32(SUPER))
            weigh_by_importance(scratch.x, scratch.weights, sigma2, scratch.weights)
            for j in range(SUPER // size):
                fit(scratch, j, grid)
            level_scales(scratch)
            for lane in range(count):
                pack(scratch, grid, lane, out[(first + lane) * n_bytes : (first + lane + 1) * n_bytes])

    return kernel(quantise_weighted, type_)
