"""Levels for the scales of a super-block, nearly all of which are positive."""

from __future__ import annotations

import numpy as np

from glm_gguf.convert.kernels.blocks import GROUP_MAX_EPS, ONE, ZERO
from glm_gguf.convert.kernels.compiled import inlined, subroutine
from glm_gguf.convert.kernels.lanes import Floats, Lanes, fill, floor, load, nearest, select, store

TENTH = np.float32(0.1)
BYTE = np.float32(256)


@inlined
def as_byte(level: Lanes) -> Lanes:
    """Conversion of a whole number to uint8_t: modulo 256."""
    return level - BYTE * floor(level / BYTE)


@inlined
def _capped(value: Lanes, highest: np.float32) -> Lanes:
    rounded = nearest(value)
    return select(rounded < highest, rounded, highest)


@subroutine
def proportional_levels(x: Floats, levels: Floats, highest: np.float32, cap: np.float32) -> Lanes:
    """Levels of x (n, WIDTH) in proportion to the largest, as quantize_row_q4_K_ref does; returns the step."""
    largest = fill(ZERO)
    for i in range(len(x)):
        value = load(x, i)
        largest = select(value > largest, value, largest)
    inverse = select(largest > ZERO, highest / largest, ZERO)
    for i in range(len(x)):
        level = as_byte(nearest(inverse * load(x, i)))
        store(levels, i, select(level < cap, level, cap))
    return largest / highest


@subroutine
def _best_iscale(x: Floats, weights: Floats, largest: Lanes, highest: np.float32) -> Lanes:
    """The inverse step of least weighted squared error among nine."""
    best = highest / largest
    best_error = fill(ZERO)
    scale = ONE / best
    for i in range(len(x)):
        difference = load(x, i) - scale * as_byte(nearest(best * load(x, i)))
        best_error = best_error + load(weights, i) * difference * difference
    for step in range(-4, 5):
        if step != 0:
            iscale = (TENTH * np.float32(step) + highest) / largest
            scale = ONE / iscale
            error = fill(ZERO)
            for i in range(len(x)):
                difference = load(x, i) - scale * _capped(iscale * load(x, i), highest)
                error = error + load(weights, i) * difference * difference
            best = select(error < best_error, iscale, best)
            best_error = select(error < best_error, error, best_error)
    return best


@subroutine
def _refine(
    x: Floats, weights: Floats, levels: Floats, highest: np.float32, sums: tuple[Lanes, Lanes]
) -> tuple[Lanes, Lanes]:
    """Move each level in turn to its best value; `sums` are Σ w·x·l and Σ w·l²."""
    sum_lx, sum_l2 = sums
    for i in range(len(x)):
        value, weight, level = load(x, i), load(weights, i), load(levels, i)
        rest_lx = sum_lx - weight * value * level
        rest_l2 = sum_l2 - weight * level * level
        movable = (rest_lx > ZERO) & (rest_l2 > ZERO)
        moved = _capped(value * rest_l2 / rest_lx, highest)
        differs = (moved < level) | (moved > level)
        new_lx = rest_lx + weight * value * moved
        new_l2 = rest_l2 + weight * moved * moved
        better = movable & differs & (new_lx * new_lx * sum_l2 > sum_lx * sum_lx * new_l2)
        store(levels, i, select(better, as_byte(moved), level))
        sum_lx = select(better, new_lx, sum_lx)
        sum_l2 = select(better, new_l2, sum_l2)
    return sum_lx, sum_l2


@subroutine
def fitted_levels(x: Floats, weights: Floats, levels: Floats, highest: np.float32) -> Lanes:
    """make_qp_quants (ggml-quants.c): levels of x (n, WIDTH) of least weighted error; returns the step."""
    largest = fill(ZERO)
    for i in range(len(x)):
        value = load(x, i)
        largest = select(largest > value, largest, value)
    iscale = _best_iscale(x, weights, largest, highest)
    sum_lx, sum_l2 = fill(ZERO), fill(ZERO)
    for i in range(len(x)):
        value, weight = load(x, i), load(weights, i)
        level = _capped(iscale * value, highest)
        store(levels, i, as_byte(level))
        sum_lx = sum_lx + weight * value * level
        sum_l2 = sum_l2 + weight * level * level
    for _ in range(5):  # ggml stops when nothing moves; then nothing moves again either
        sum_lx, sum_l2 = _refine(x, weights, levels, highest, (sum_lx, sum_l2))
    empty = largest < GROUP_MAX_EPS
    for i in range(len(x)):
        store(levels, i, select(empty, ZERO, load(levels, i)))
    return select(empty, ZERO, select(sum_l2 > ZERO, sum_lx / sum_l2, ZERO))
