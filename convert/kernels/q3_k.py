"""Q3_K: twins of quantize_row_q3_K_ref and quantize_row_q3_K_impl (ggml-quants.c)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from glm_gguf.convert.kernels.affine import clamped
from glm_gguf.convert.kernels.blocks import (
    ONE,
    SUPER,
    TWO,
    ZERO,
    gather,
    gather_importance,
    pack_lanes,
    sum_of_squares,
    weigh_by_importance,
)
from glm_gguf.convert.kernels.compiled import inlined, kernel, subroutine
from glm_gguf.convert.kernels.half import from_half, nearest_int, put_half, to_half
from glm_gguf.convert.kernels.lanes import (
    WIDTH,
    Bytes,
    Floats,
    fill,
    load,
    load_at,
    select,
    store,
    store_at,
    store_bytes,
)
from glm_gguf.convert.kernels.symmetric import farthest_of, search, search_levels, signed_level
from glm_gguf.convert.kernels.two_bits import FOUR, put_two_bits

BLOCKS, SIZE = 16, 16
AT_ONCE = 8  # blocks searched together; two rows of Scratch.sums each
NMAX, SCALES = np.float32(4), np.float32(32)
THREE = np.float32(3)


class Scratch(NamedTuple):
    """Working memory: (SUPER, WIDTH), (BLOCKS, WIDTH) and, for one super-block's levels, (SUPER,)."""

    x: Floats
    importance: Floats
    levels: Floats
    scales: Floats
    scale_levels: Floats
    """0 to 63."""
    sums: Floats
    """Σ of a block's weights."""
    steps: Floats
    """(1, WIDTH): the step of the scales."""
    row: Floats


@inlined
def _make_scratch() -> Scratch:
    big, small = (SUPER, WIDTH), (BLOCKS, WIDTH)
    values = np.zeros(big, np.float32), np.zeros(big, np.float32), np.zeros(big, np.float32)
    found = np.zeros(small, np.float32), np.zeros(small, np.float32), np.zeros(small, np.float32)
    return Scratch(*values, *found, np.zeros((1, WIDTH), np.float32), np.zeros(SUPER, np.float32))


@subroutine
def _fit(scratch: Scratch) -> None:
    """Scales and levels of all blocks as make_q3_quants finds them."""
    for j in range(0, BLOCKS, AT_ONCE):
        weights, blocks = slice(j * SIZE, (j + AT_ONCE) * SIZE), slice(j, j + AT_ONCE)
        search_levels(scratch.x[weights], scratch.levels[weights], scratch.sums, NMAX, scratch.scales[blocks])


@subroutine
def _level_scales(scratch: Scratch, lane: int) -> None:
    """Levels of the scales in proportion to the one of largest magnitude, through int8_t as in C."""
    largest = farthest_of(scratch.scales, lane)
    iscale = -SCALES / largest
    for j in range(BLOCKS):
        level = (nearest_int(iscale * scratch.scales[j, lane]) + 128 & 255) - 128
        scratch.scale_levels[j, lane] = max(-32, min(31, level)) + 32 if largest != ZERO else 0
    scratch.steps[0, lane] = ONE / iscale if largest != ZERO else ZERO


@subroutine
def _fit_by_importance(scratch: Scratch) -> None:
    """Scales, levels and the scales' own levels of all blocks as make_qx_quants finds them."""
    sigma2 = TWO * sum_of_squares(scratch.x) / np.float32(SUPER)
    for j in range(BLOCKS):
        block = slice(j * SIZE, (j + 1) * SIZE)
        x, weights = scratch.x[block], scratch.importance[block]
        store(scratch.sums, j, weigh_by_importance(x, weights, sigma2, weights))
        fit = search(x, weights, NMAX)
        store(scratch.scales, j, fit.scale)
        for i in range(SIZE):
            store(scratch.levels, j * SIZE + i, signed_level(fit.iscale * load(x, i), NMAX) + fit.zero)
    fit = search(scratch.scales, scratch.sums, SCALES)
    store(scratch.steps, 0, fit.scale)
    for j in range(BLOCKS):
        store(scratch.scale_levels, j, clamped(fit.iscale * load(scratch.scales, j), -SCALES, SCALES - ONE) + fit.zero)


@inlined
def _put_scales(scratch: Scratch, lane: int, out: Bytes) -> None:
    """Sixteen 6-bit scales in 12 bytes: low nibbles in eight, the two bits above them in four."""
    for j in range(8):
        near, far = int(scratch.scale_levels[j, lane]), int(scratch.scale_levels[j + 8, lane])
        out[j] = near & 15 | (far & 15) << 4
    for j in range(4):
        high = 0
        for k in range(4):
            high |= int(scratch.scale_levels[j + 4 * k, lane]) >> 4 << 2 * k
        out[8 + j] = high


@subroutine
def _set_final_levels(scratch: Scratch, lane: int, values: Floats, d: np.float32) -> None:
    """Final levels: nearest(x / scale), or the search's where the scale is 0."""
    for j in range(BLOCKS):
        scale = d * (scratch.scale_levels[j, lane] - SCALES)
        for i in range(SIZE):
            scratch.row[j * SIZE + i] = scratch.levels[j * SIZE + i, lane]
        if scale != ZERO:
            x = load_at(values, j * SIZE)
            store_at(scratch.row, j * SIZE, clamped(x / scale, -NMAX, THREE) + NMAX)


@inlined
def _put_levels(row: Floats, out: Bytes) -> None:
    """32 bytes of high bits, a byte holding eight that lie 32 apart; then 64 bytes of the low two."""
    for i in range(0, 32, WIDTH):
        high = fill(ZERO)
        for j in range(8):
            level = load_at(row, 32 * j + i)
            bit = select(level > THREE, ONE, ZERO)
            high = high + bit * np.float32(1 << j)
            store_at(row, 32 * j + i, level - bit * FOUR)
        store_bytes(out, i, high)
    put_two_bits(row, out[32:96])


@subroutine
def _pack(scratch: Scratch, lane: int, values: Floats, out: Bytes) -> None:
    """block_q3_K: levels, 12 bytes of scales, d."""
    d = to_half(scratch.steps[0, lane])
    put_half(out, 108, d)
    _put_scales(scratch, lane, out[96:108])
    _set_final_levels(scratch, lane, values, from_half(d))
    _put_levels(scratch.row, out)


@kernel
def quantise(rows: Floats, out: Bytes) -> None:
    """Quantise rows (n · 256,) to out (n · 110,)."""
    scratch = _make_scratch()
    for first in range(0, len(rows) // SUPER, WIDTH):
        count = gather(rows, first, scratch.x)
        _fit(scratch)
        for lane in range(count):
            _level_scales(scratch, lane)
        pack_lanes(_pack, scratch, rows, first, out)


@kernel
def quantise_weighted(rows: Floats, importance: Floats, out: Bytes) -> None:
    """The same with the importance (columns,) of the columns."""
    scratch = _make_scratch()
    for first in range(0, len(rows) // SUPER, WIDTH):
        count = gather(rows, first, scratch.x)
        gather_importance(importance, first, count, scratch.importance)
        _fit_by_importance(scratch)
        pack_lanes(_pack, scratch, rows, first, out)
