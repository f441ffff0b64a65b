"""Super-blocks of Q2_K, Q4_K and Q5_K: one step quantises the blocks' scales, another their minimums."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from glm_gguf.convert.kernels.affine import Block, Fit, clamped, search
from glm_gguf.convert.kernels.blocks import (
    SUPER,
    ZERO,
    gather,
    gather_importance,
    pack_lanes,
    sum_of_squares,
    weigh_by_importance,
)
from glm_gguf.convert.kernels.compiled import inlined, kernel, subroutine
from glm_gguf.convert.kernels.half import to_half
from glm_gguf.convert.kernels.lanes import (
    WIDTH,
    Bytes,
    Floats,
    Lanes,
    absolute,
    fill,
    load,
    load_at,
    square_root,
    store,
    store_at,
)
from glm_gguf.convert.kernels.positive import fitted_levels, proportional_levels


class Form(NamedTuple):
    """The constants in which Q2_K, Q4_K and Q5_K differ."""

    type: str
    blocks: int
    """Blocks of a super-block."""
    highest: np.float32
    """Highest level of a weight."""
    scales: np.float32
    """Highest level of a scale or minimum."""
    cap: np.float32
    """Bound of these levels without an importance matrix."""
    by_size: bool
    """Without an importance matrix, errors are absolute and weighed by |x|; else squared, by sqrt(mean x²) + |x|."""
    sigma: np.float32
    """sigma2 is this times the mean of x²."""
    plain: Floats
    """Numerators for the search without an importance matrix."""
    weighted: Floats
    """Numerators for the search with one."""


class Scratch(NamedTuple):
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
    """(2, WIDTH): step of the scales, and of the minimums."""
    row: Floats
    """(SUPER,): levels of one super-block in the order of its weights."""


@inlined
def make_scratch(blocks: int) -> Scratch:
    """Memory for super-blocks of `blocks` blocks."""
    big, small = (SUPER, WIDTH), (blocks, WIDTH)
    block = (SUPER // blocks, WIDTH)
    values = np.zeros(big, np.float32), np.zeros(big, np.float32)
    search_memory = np.zeros(block, np.float32), np.zeros(block, np.float32)
    found = np.zeros(small, np.float32), np.zeros(small, np.float32), np.zeros(small, np.float32)
    more = np.zeros(small, np.float32), np.zeros(small, np.float32), np.zeros(small, np.float32)
    last = np.zeros(small, np.float32), np.zeros((2, WIDTH), np.float32), np.zeros(SUPER, np.float32)
    return Scratch(*values, *search_memory, *found, *more, *last)


@inlined
def _store_fit(scratch: Scratch, j: int, fit: Fit) -> None:
    store(scratch.scales, j, fit.scale)
    store(scratch.mins, j, fit.minus_min)
    store(scratch.iscales, j, fit.iscale)
    store(scratch.lows, j, fit.low)


@subroutine
def fit_by_size(scratch: Scratch, highest: np.float32, numerators: Floats, mad: bool) -> None:
    """Search every block, weighed by |x| (`mad`), or by sqrt(mean x²) + |x| as in quantize_row_q4_K_ref."""
    size = len(scratch.weights)
    for j in range(len(scratch.scales)):
        x = scratch.x[j * size : (j + 1) * size]
        average = fill(ZERO)
        if not mad:
            average = square_root(sum_of_squares(x) / np.float32(size))
        for i in range(size):
            store(scratch.weights, i, average + absolute(load(x, i)))
        _store_fit(scratch, j, search(Block(x, scratch.weights, scratch.levels), highest, numerators, mad))


@subroutine
def fit_by_importance(scratch: Scratch, highest: np.float32, numerators: Floats, sigma2: Lanes) -> None:
    """Search every block, weighed by importance · sqrt(sigma2 + x²); keeps the sums of these weights."""
    size = len(scratch.weights)
    for j in range(len(scratch.scales)):
        x, importance = scratch.x[j * size : (j + 1) * size], scratch.importance[j * size : (j + 1) * size]
        store(scratch.sums, j, weigh_by_importance(x, importance, sigma2, scratch.weights))
        _store_fit(scratch, j, search(Block(x, scratch.weights, scratch.levels), highest, numerators, False))


@subroutine
def quantise_scales(scratch: Scratch, highest: np.float32, cap: np.float32) -> None:
    """Quantise scales and minimums in proportion to their largest."""
    store(scratch.steps, 0, proportional_levels(scratch.scales, scratch.scale_levels, highest, cap))
    store(scratch.steps, 1, proportional_levels(scratch.mins, scratch.min_levels, highest, cap))


@subroutine
def quantise_scales_by_importance(scratch: Scratch, highest: np.float32) -> None:
    """Quantise scales and minimums with least error under the sums of the weights."""
    store(scratch.steps, 0, fitted_levels(scratch.scales, scratch.sums, scratch.scale_levels, highest))
    store(scratch.steps, 1, fitted_levels(scratch.mins, scratch.sums, scratch.min_levels, highest))


@inlined
def halves(scratch: Scratch, lane: int) -> tuple[int, int]:
    """A super-block's two steps in half precision."""
    return to_half(scratch.steps[0, lane]), to_half(scratch.steps[1, lane])


@inlined
def set_final_levels(
    scratch: Scratch, at: tuple[int, int], values: Floats, step: tuple[np.float32, np.float32], highest: np.float32
) -> None:
    """Final levels of a block, `at` = (lane, j): nearest((x + minimum) / scale), or the search's where scale is 0."""
    lane, j = at
    scale, minimum = step
    size = len(scratch.weights)
    for i in range(j * size, (j + 1) * size, WIDTH):
        x = load_at(values, i)
        if scale != ZERO:
            found = clamped((x + minimum) / scale, ZERO, highest)
        else:
            found = clamped(scratch.iscales[j, lane] * (x - scratch.lows[j, lane]), ZERO, highest)
        store_at(scratch.row, i, found)


def kernels(form: Form, pack: Callable[..., None]) -> tuple[Callable[..., None], Callable[..., None]]:
    """`quantise` and `quantise_weighted` of a type: (rows, [importance,] out), as in the other modules.

    rows (n · 256,), importance (columns,), out (n · block bytes,).
    """
    blocks, highest, scales, cap, by_size = form.blocks, form.highest, form.scales, form.cap, form.by_size
    sigma, plain, weighted = form.sigma, form.plain, form.weighted

    def quantise(rows: Floats, out: Bytes) -> None:
        scratch = make_scratch(blocks)
        for first in range(0, len(rows) // SUPER, WIDTH):
            gather(rows, first, scratch.x)
            fit_by_size(scratch, highest, plain, by_size)
            quantise_scales(scratch, scales, cap)
            pack_lanes(pack, scratch, rows, first, out)

    def quantise_weighted(rows: Floats, importance: Floats, out: Bytes) -> None:
        scratch = make_scratch(blocks)
        for first in range(0, len(rows) // SUPER, WIDTH):
            count = gather(rows, first, scratch.x)
            gather_importance(importance, first, count, scratch.importance)
            sigma2 = sigma * sum_of_squares(scratch.x) / np.float32(SUPER)
            fit_by_importance(scratch, highest, weighted, sigma2)
            quantise_scales_by_importance(scratch, scales)
            pack_lanes(pack, scratch, rows, first, out)

    return kernel(quantise, form.type), kernel(quantise_weighted, form.type)
