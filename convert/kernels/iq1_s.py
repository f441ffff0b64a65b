"""IQ1_S with an importance matrix: twin of quantize_row_iq1_s_impl (ggml-quants.c)."""

from __future__ import annotations

import numpy as np

from glm_gguf.convert.kernels import ternary
from glm_gguf.convert.kernels.blocks import ONE, ZERO
from glm_gguf.convert.kernels.compiled import inlined, subroutine
from glm_gguf.convert.kernels.grids import Grid, with_grid
from glm_gguf.convert.kernels.half import HALF, nearest_int, put_half, to_half
from glm_gguf.convert.kernels.lanes import Bytes, Lanes, any_true, fill, load, select, store
from glm_gguf.convert.kernels.ternary import LOWEST, SHIFT, SIXTY_FOUR, Scratch

BLOCKS, SIZE, GROUPS = 8, 32, 4
EMPTY = np.float32(1e-12)
STEPS, FACTOR = np.float32(15), np.float32(1.125)


@subroutine
def _store_sums(scratch: Scratch) -> None:
    """Σ w·x and Σ w of the first 0 … SIZE sorted values."""
    sum_x, sum_w = fill(ZERO), fill(ZERO)
    for i in range(SIZE + 1):
        store(scratch.sums, i, sum_x)
        store(scratch.sums, SIZE + 1 + i, sum_w)
        if i < SIZE:
            weight = load(scratch.sorted_weights, i)
            sum_x = sum_x + weight * load(scratch.sorted_x, i)
            sum_w = sum_w + weight


@inlined
def _divided_sums(scratch: Scratch, first: int, second: int, shift: np.float32) -> tuple[Lanes, Lanes]:
    """Σ w·x·q and Σ w·q² where the sorted values divide at two places into shift - 1, shift and shift + 1."""
    low, middle, high = shift - ONE, shift, shift + ONE
    x1, x2, x3 = load(scratch.sums, first), load(scratch.sums, second), load(scratch.sums, SIZE)
    w1, w2, w3 = (
        load(scratch.sums, SIZE + 1 + first),
        load(scratch.sums, SIZE + 1 + second),
        load(scratch.sums, 2 * SIZE + 1),
    )
    sum_qx = x1 * low + (x2 - x1) * middle + (x3 - x2) * high
    return sum_qx, w1 * low * low + (w2 - w1) * middle * middle + (w3 - w2) * high * high


@subroutine
def _divide(scratch: Scratch) -> tuple[Lanes, Lanes, Lanes]:
    """Scale, places and shift of the largest explained weighted square; places are -1 where there is none."""
    best, scale, places, chosen = fill(LOWEST), fill(ZERO), fill(-ONE), fill(ZERO)
    for first in range(SIZE + 1):
        for second in range(first, SIZE + 1):
            for shift in (SHIFT, -SHIFT):
                sum_qx, sum_q2 = _divided_sums(scratch, first, second, shift)
                better = (sum_q2 > ZERO) & (sum_qx * sum_qx > best * sum_q2)
                if any_true(better):
                    scale = select(better, sum_qx / sum_q2, scale)
                    best = select(better, scale * sum_qx, best)
                    places = select(better, SIXTY_FOUR * np.float32(first) + np.float32(second), places)
                    chosen = select(better, shift, chosen)
    return scale, places, chosen


@subroutine
def _fit(scratch: Scratch, j: int, grid: Grid) -> None:
    """Scale, codes and shift of block j of every lane."""
    largest = ternary.sort(scratch, j)
    _store_sums(scratch)
    scale, places, shift = _divide(scratch)
    shift = select(scale < ZERO, -ONE * shift, shift)
    scale = ternary.set_levels(scratch, places, scale)
    for k in range(GROUPS):
        store(scratch.steps, 1 + k, shift)
    ternary.fit_points(scratch, j, scale, (largest < EMPTY) | (places < ZERO), grid)


@subroutine
def _pack(scratch: Scratch, grid: Grid, lane: int, out: Bytes) -> None:
    """block_iq1_s: d, 32 indices, then for each block their high bits, a level and the sign of the shift."""
    largest = scratch.steps[0, lane]
    d = largest / STEPS
    put_half(out, 0, to_half(d * FACTOR))
    for j in range(BLOCKS):
        high = 0
        for k in range(GROUPS):
            index = int(grid.indices[int(scratch.codes[GROUPS * j + k, lane])])
            out[2 + GROUPS * j + k] = index & 255
            high |= index >> 8 << 3 * k
        if largest > ZERO:
            level = max(0, min(7, nearest_int(HALF * (ONE / d * scratch.scales[j, lane] - ONE))))
            high |= (level | 8 if scratch.shifts[GROUPS * j, lane] < ZERO else level) << 12
        put_half(out, 34 + 2 * j, high)


@subroutine
def _level_scales(scratch: Scratch) -> None:
    """The largest scale goes to `steps`; the levels follow when they are packed."""
    store(scratch.steps, 0, ternary.largest_of(scratch.scales))


quantise_weighted = with_grid(ternary.weighted_kernel("IQ1_S", SIZE, _fit, _level_scales, _pack), ternary.grid)
