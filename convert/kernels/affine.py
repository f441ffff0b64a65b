"""The search for scale and minimum of a block, x ≈ scale · level + minimum: make_qkx2_quants and make_qkx3_quants.

Both are one computation over given weights. It rounds in floats alone, which equals nearest_int for arguments within
±LARGEST. Blocks with other arguments are rare: tiny weights, or importances of zero. They are searched again with
nearest_int's own steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from glm_gguf.convert.kernels.blocks import ONE, ZERO
from glm_gguf.convert.kernels.compiled import inlined, subroutine
from glm_gguf.convert.kernels.half import ROUNDER
from glm_gguf.convert.kernels.lanes import Floats, Lanes, Mask, absolute, any_true, fill, load, nearest, select, store

LARGEST = np.float32(4194303)  # nearest_int's bound: beyond it, it wraps
MINUS_ONE = np.float32(-1)


Level = Callable[[Lanes, np.float32], Lanes]
"""nearest_int and a clamp to 0 … highest."""


class Block(NamedTuple):
    """Blocks across lanes: values and weights (n, WIDTH), and memory for their levels."""

    x: Floats
    weights: Floats
    levels: Floats


class Fit(NamedTuple):
    """What a search found: x ≈ scale · level - minus_min, with level = nearest(iscale · (x - low))."""

    scale: Lanes
    minus_min: Lanes
    iscale: Lanes
    low: Lanes


def factors(highest: int, rmin: float, rdelta: float, steps: int) -> Floats:
    """The numerators (steps + 1,) that make_qkx2_quants tries: rmin + rdelta · step + highest, in float32."""
    return np.float32(rmin) + np.float32(rdelta) * np.arange(steps + 1, dtype=np.float32) + np.float32(highest)


@inlined
def _near_level(value: Lanes, highest: np.float32) -> Lanes:
    """nearest_int and clamp to 0 … highest, for values within ±LARGEST."""
    rounded = (value + ROUNDER) - ROUNDER
    rounded = select(rounded < highest, rounded, highest)
    return select(rounded > ZERO, rounded, ZERO)


@inlined
def clamped(value: Lanes, lowest: np.float32, highest: np.float32) -> Lanes:
    """MAX(lowest, MIN(highest, nearest_int(value))), for every value."""
    rounded = nearest(value)
    rounded = select(rounded < highest, rounded, highest)
    return select(rounded > lowest, rounded, lowest)


@inlined
def _any_level(value: Lanes, highest: np.float32) -> Lanes:
    """nearest_int and clamp to 0 … highest, for every value."""
    return clamped(value, ZERO, highest)


@inlined
def _within(iscale: Lanes, low: Lanes, bottom: Lanes, top: Lanes) -> Mask:
    """Whether iscale · (x - low) stays within ±LARGEST for all x from bottom to top: rounding is monotonic."""
    return (absolute(iscale * (bottom - low)) <= LARGEST) & (absolute(iscale * (top - low)) <= LARGEST)


@inlined
def _extremes(block: Block) -> tuple[Lanes, Lanes, Lanes, Lanes]:
    """Smallest and largest x, Σ w and Σ w·x."""
    bottom, sum_w = load(block.x, 0), load(block.weights, 0)
    top, sum_x = bottom, sum_w * bottom
    for i in range(1, len(block.x)):
        value, weight = load(block.x, i), load(block.weights, i)
        bottom = select(value < bottom, value, bottom)
        top = select(value > top, value, top)
        sum_w = sum_w + weight
        sum_x = sum_x + weight * value
    return bottom, top, sum_w, sum_x


@inlined
def _error(block: Block, scale: Lanes, minimum: Lanes, mad: bool) -> Lanes:
    """Weighted squared (or, `mad`, absolute) difference between x and scale · level + minimum."""
    total = fill(ZERO)
    for i in range(len(block.x)):
        difference = scale * load(block.levels, i) + minimum - load(block.x, i)
        size = absolute(difference) if mad else difference * difference
        total = total + load(block.weights, i) * size
    return total


def _levels_by(level: Level) -> Callable[..., tuple[Lanes, Lanes, Lanes]]:
    """A function that sets a block's levels by `level`."""

    @inlined
    def set_levels(block: Block, iscale: Lanes, low: Lanes, highest: np.float32) -> tuple[Lanes, Lanes, Lanes]:
        # levels at iscale and low; returns their Σ w·l, Σ w·l² and Σ w·l·x
        sum_l, sum_l2, sum_xl = fill(ZERO), fill(ZERO), fill(ZERO)
        for i in range(len(block.x)):
            value = load(block.x, i)
            at = level(iscale * (value - low), highest)
            store(block.levels, i, at)
            weighted = load(block.weights, i) * at
            sum_l = sum_l + weighted
            sum_l2 = sum_l2 + weighted * at
            sum_xl = sum_xl + weighted * value
        return sum_l, sum_l2, sum_xl

    return set_levels


def _search_by(level: Level) -> Callable[..., tuple[Fit, Mask]]:
    """The search with levels by `level`; its mask is true in the lanes whose arguments were within ±LARGEST."""
    set_levels = _levels_by(level)

    @subroutine
    def search(block: Block, highest: np.float32, numerators: Floats, mad: bool) -> tuple[Fit, Mask]:
        bottom, top, sum_w, sum_x = _extremes(block)
        low = select(bottom > ZERO, ZERO, bottom)
        flat, varied = top == low, low < top
        iscale = highest / (top - low)
        scale = ONE / iscale
        exact = _within(iscale, low, bottom, top)
        set_levels(block, iscale, low, highest)
        error = _error(block, scale, low, mad)
        best_iscale, best_low = select(flat, ZERO, iscale), low
        for step in range(len(numerators)):
            iscale = numerators[step] / (top - low)
            exact = exact & _within(iscale, low, bottom, top)
            sum_l, sum_l2, sum_xl = set_levels(block, iscale, low, highest)
            determinant = sum_w * sum_l2 - sum_l * sum_l
            this_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant
            this_min = (sum_l2 * sum_x - sum_l * sum_xl) / determinant
            positive = this_min > ZERO
            this_scale = select(positive, sum_xl / sum_l2, this_scale)
            this_min = select(positive, ZERO, this_min)
            this_error = _error(block, this_scale, this_min, mad)
            better = varied & (determinant > ZERO) & (this_error < error)
            error = select(better, this_error, error)
            scale = select(better, this_scale, scale)
            best_iscale, best_low = select(better, iscale, best_iscale), select(better, low, best_low)
            low = select(better, this_min, low)
        return Fit(select(flat, ZERO, scale), low * MINUS_ONE, best_iscale, best_low), exact | flat

    return search


_near_search, _any_search = _search_by(_near_level), _search_by(_any_level)


@subroutine
def search(block: Block, highest: np.float32, numerators: Floats, mad: bool) -> Fit:
    """make_qkx2_quants (ggml-quants.c), and make_qkx3_quants: the scale and minimum of least error."""
    fit, exact = _near_search(block, highest, numerators, mad)
    if any_true(select(exact, ZERO, ONE) > ZERO):
        fit, exact = _any_search(block, highest, numerators, mad)
    return fit
