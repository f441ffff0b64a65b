"""The search for the scale of a block without a minimum, x ≈ scale · level: make_qx_quants and make_q3_quants."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from glm_gguf.convert.kernels.affine import clamped
from glm_gguf.convert.kernels.blocks import GROUP_MAX_EPS, ONE, ZERO
from glm_gguf.convert.kernels.compiled import inlined, subroutine
from glm_gguf.convert.kernels.half import ROUNDER
from glm_gguf.convert.kernels.lanes import Floats, Lanes, Mask, absolute, any_true, fill, load, select, store

TENTH = np.float32(0.1)


class Fit(NamedTuple):
    """What a search found: x ≈ scale · (level - zero), with level = nearest(iscale · x) + zero."""

    scale: Lanes
    iscale: Lanes
    zero: Lanes
    """nmax; 0 where all x are 0."""


@inlined
def signed_level(value: Lanes, nmax: np.float32) -> Lanes:
    """nearest_int and clamp to -nmax … nmax - 1, for values that nearest_int does not wrap."""
    rounded = (value + ROUNDER) - ROUNDER
    rounded = select(rounded < nmax - ONE, rounded, nmax - ONE)
    return select(rounded > -nmax, rounded, -nmax)


@inlined
def farthest(x: Floats) -> tuple[Lanes, Mask]:
    """The first x of largest magnitude, with its sign; and whether ggml treats the block as zero."""
    largest, size = fill(ZERO), fill(ZERO)
    for i in range(len(x)):
        value = load(x, i)
        larger = absolute(value) > size
        largest = select(larger, value, largest)
        size = select(larger, absolute(value), size)
    return largest, size < GROUP_MAX_EPS


@subroutine
def farthest_of(x: Floats, lane: int) -> np.float32:
    """The first number of largest magnitude in a lane of x (n, WIDTH), with its sign; NaN is ignored."""
    largest = ZERO
    for i in range(len(x)):
        if abs(x[i, lane]) > abs(largest):
            largest = x[i, lane]
    return largest


@inlined
def _sums(x: Floats, weights: Floats, iscale: Lanes, nmax: np.float32) -> tuple[Lanes, Lanes]:
    """Σ w·x·l and Σ w·l² for the levels at iscale; |iscale · x| is at most about nmax, so rounding is exact."""
    sum_lx, sum_l2 = fill(ZERO), fill(ZERO)
    for i in range(len(x)):
        value, weight = load(x, i), load(weights, i)
        level = signed_level(iscale * value, nmax)
        sum_lx = sum_lx + weight * value * level
        sum_l2 = sum_l2 + weight * level * level
    return sum_lx, sum_l2


@subroutine
def search(x: Floats, weights: Floats, nmax: np.float32) -> Fit:
    """make_qx_quants (ggml-quants.c) with rmse_type 1: scale of largest explained weighted square."""
    largest, empty = farthest(x)
    best_iscale = -nmax / largest
    sum_lx, sum_l2 = _sums(x, weights, best_iscale, nmax)
    scale = select(sum_l2 == ZERO, ZERO, sum_lx / sum_l2)
    best = scale * sum_lx
    for step in range(-9, 10):
        if step != 0:
            iscale = -(nmax + TENTH * np.float32(step)) / largest
            sum_lx, sum_l2 = _sums(x, weights, iscale, nmax)
            better = (sum_l2 > ZERO) & (sum_lx * sum_lx > best * sum_l2)
            scale = select(better, sum_lx / sum_l2, scale)
            best = select(better, scale * sum_lx, best)
            best_iscale = select(better, iscale, best_iscale)
    return Fit(select(empty, ZERO, scale), select(empty, ZERO, best_iscale), select(empty, ZERO, fill(nmax)))


@inlined
def _start(x: Floats, levels: Floats, nmax: np.float32) -> tuple[Lanes, Lanes]:
    """Levels of one block at -nmax / (its farthest x), with their Σ w·x·l and Σ w·l², w = x²."""
    largest, empty = farthest(x)
    iscale = -nmax / largest
    sum_lx, sum_l2 = fill(ZERO), fill(ZERO)
    for i in range(len(x)):
        value = load(x, i)
        weight = value * value
        level = select(empty, ZERO, signed_level(iscale * value, nmax))
        store(levels, i, level)
        sum_lx = sum_lx + weight * value * level
        sum_l2 = sum_l2 + weight * level * level
    return sum_lx, sum_l2


@subroutine
def _refine(x: Floats, levels: Floats, sums: Floats, nmax: np.float32) -> bool:
    """Move each level of every block in turn to its best value; returns whether any moved.

    Each move depends on the last in its block, so blocks alternate: the processor overlaps them.
    """
    blocks = len(sums) // 2
    size = len(x) // blocks
    some = fill(ZERO)
    for i in range(size):
        for j in range(blocks):
            value, level = load(x, j * size + i), load(levels, j * size + i)
            sum_lx, sum_l2 = load(sums, j), load(sums, blocks + j)
            weight = value * value
            rest_lx = sum_lx - weight * value * level
            rest_l2 = sum_l2 - weight * level * level
            moved = clamped(value * rest_l2 / rest_lx, -nmax, nmax - ONE)
            differs = (moved < level) | (moved > level)
            new_lx = rest_lx + weight * value * moved
            new_l2 = rest_l2 + weight * moved * moved
            gains = (new_l2 > ZERO) & (new_lx * new_lx * sum_l2 > sum_lx * sum_lx * new_l2)
            better = (rest_lx > ZERO) & differs & gains
            store(levels, j * size + i, select(better, moved, level))
            store(sums, j, select(better, new_lx, sum_lx))
            store(sums, blocks + j, select(better, new_l2, sum_l2))
            some = select(better, ONE, some)
    return any_true(some > ZERO)


@subroutine
def search_levels(x: Floats, levels: Floats, sums: Floats, nmax: np.float32, scales: Floats) -> None:
    """make_q3_quants (ggml-quants.c) for the blocks of x, as many as scales (m, WIDTH): levels and scales.

    Levels are 0 to 2 · nmax - 1. `sums` (2 · m, WIDTH) is working memory.
    """
    blocks = len(scales)
    size = len(x) // blocks
    for j in range(blocks):
        block = slice(j * size, (j + 1) * size)
        sum_lx, sum_l2 = _start(x[block], levels[block], nmax)
        store(sums, j, sum_lx)
        store(sums, blocks + j, sum_l2)
    for _ in range(5):
        if not _refine(x, levels, sums, nmax):
            break
    for j in range(blocks):
        empty = farthest(x[j * size : (j + 1) * size])[1]
        scale = select(load(sums, blocks + j) > ZERO, load(sums, j) / load(sums, blocks + j), ZERO)
        store(scales, j, select(empty, ZERO, scale))
        for i in range(j * size, (j + 1) * size):
            store(levels, i, select(empty, ZERO, load(levels, i) + nmax))
