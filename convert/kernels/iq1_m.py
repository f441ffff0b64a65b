"""IQ1_M with an importance matrix: twin of quantize_row_iq1_m_impl (ggml-quants.c)."""

from __future__ import annotations

import numpy as np

from glm_gguf.convert.kernels import ternary
from glm_gguf.convert.kernels.affine import clamped
from glm_gguf.convert.kernels.blocks import ONE, TWO, ZERO
from glm_gguf.convert.kernels.compiled import inlined, subroutine
from glm_gguf.convert.kernels.grids import Grid, with_grid
from glm_gguf.convert.kernels.half import HALF, put_half, to_half
from glm_gguf.convert.kernels.lanes import Bytes, Lanes, any_true, fill, load, select, store
from glm_gguf.convert.kernels.ternary import LOWEST, SHIFT, SIXTY_FOUR, Scratch

BLOCKS, SIZE, HALF_SIZE = 16, 16, np.float32(8)
EMPTY = np.float32(1e-7)
STEPS, SEVEN, FACTOR = np.float32(15), np.float32(7), np.float32(1.1125)


@subroutine
def _store_sums(scratch: Scratch) -> None:
    """Σ w·x and Σ w of the first 0 … SIZE sorted values, of those from the first and from the second half."""
    sum_x, other_x, sum_w, other_w = fill(ZERO), fill(ZERO), fill(ZERO), fill(ZERO)
    for i in range(SIZE + 1):
        store(scratch.sums, 4 * i, sum_x)
        store(scratch.sums, 4 * i + 1, other_x)
        store(scratch.sums, 4 * i + 2, sum_w)
        store(scratch.sums, 4 * i + 3, other_w)
        if i < SIZE:
            weight, near = load(scratch.sorted_weights, i), load(scratch.order, i) < HALF_SIZE
            weighted = weight * load(scratch.sorted_x, i)
            sum_x, other_x = select(near, sum_x + weighted, sum_x), select(near, other_x, other_x + weighted)
            sum_w, other_w = select(near, sum_w + weight, sum_w), select(near, other_w, other_w + weight)


@inlined
def _divided_sums(scratch: Scratch, half: int, at: tuple[int, int], shift: np.float32) -> tuple[Lanes, Lanes]:
    """Σ w·x·q and Σ w·q² of one half where the sorted values divide at two places; q is -1, 0 or 1, plus shift."""
    low, middle, high = shift - ONE, shift, shift + ONE
    first, second, last = 4 * at[0] + half, 4 * at[1] + half, 4 * SIZE + half
    sum_qx = load(scratch.sums, last) * high - (load(scratch.sums, first) + load(scratch.sums, second))
    sum_q2 = load(scratch.sums, last + 2) * high * high + load(scratch.sums, first + 2) * (low * low - middle * middle)
    return sum_qx, sum_q2 + load(scratch.sums, second + 2) * (middle * middle - high * high)


@subroutine
def _divide(scratch: Scratch) -> tuple[Lanes, Lanes]:
    """Scale and places of the largest explained weighted square; `steps` gets the shifts.

    Places are -1 where there is none.
    """
    best, scale, places = fill(LOWEST), fill(ZERO), fill(-ONE)
    store(scratch.steps, 1, fill(ZERO))
    store(scratch.steps, 2, fill(ZERO))
    for first in range(SIZE + 1):
        for second in range(first, SIZE + 1):
            for shift in (SHIFT, -SHIFT):
                for other in (SHIFT, -SHIFT):
                    near_qx, near_q2 = _divided_sums(scratch, 0, (first, second), shift)
                    far_qx, far_q2 = _divided_sums(scratch, 1, (first, second), other)
                    sum_qx, sum_q2 = near_qx + far_qx, near_q2 + far_q2
                    better = (sum_q2 > ZERO) & (sum_qx * sum_qx > best * sum_q2)
                    if any_true(better):
                        scale = select(better, sum_qx / sum_q2, scale)
                        best = select(better, scale * sum_qx, best)
                        places = select(better, SIXTY_FOUR * np.float32(first) + np.float32(second), places)
                        store(scratch.steps, 1, select(better, shift, load(scratch.steps, 1)))
                        store(scratch.steps, 2, select(better, other, load(scratch.steps, 2)))
    return scale, places


@subroutine
def _fit(scratch: Scratch, j: int, grid: Grid) -> None:
    """Scale, codes and shifts of block j of every lane."""
    largest = ternary.sort(scratch, j)
    _store_sums(scratch)
    scale, places = _divide(scratch)
    for k in range(2):
        shift = load(scratch.steps, 1 + k)
        store(scratch.steps, 1 + k, select(scale < ZERO, -ONE * shift, shift))
    scale = ternary.set_levels(scratch, places, scale)
    ternary.fit_points(scratch, j, scale, (largest < EMPTY) | (places < ZERO), grid)


@subroutine
def _level_scales(scratch: Scratch) -> None:
    """Quantise the scales, then the best step for all weights; it and the largest scale go to `steps`."""
    largest = ternary.largest_of(scratch.scales)
    step = largest / STEPS
    inverse = ONE / step
    sum_qx, sum_q2 = fill(ZERO), fill(ZERO)
    for k in range(2 * BLOCKS):
        level = clamped(HALF * (inverse * load(scratch.scales, k // 2) - ONE), ZERO, SEVEN)
        shift = load(scratch.shifts, k)
        shift = select(shift < ZERO, -SHIFT, SHIFT)
        if k % 2 == 1:
            store(scratch.scales, k // 2, level)
        for i in range(ternary.DIMS):
            n = k * ternary.DIMS + i
            weight, q = load(scratch.weights, n), ternary.value_of(scratch, k, i, shift) * (TWO * level + ONE)
            sum_qx = sum_qx + weight * q * load(scratch.x, n)
            sum_q2 = sum_q2 + weight * q * q
    store(scratch.steps, 0, largest)
    store(scratch.steps, 1, select(sum_q2 > ZERO, sum_qx / sum_q2, step))


@subroutine
def _pack(scratch: Scratch, grid: Grid, lane: int, out: Bytes) -> None:
    """block_iq1_m: 32 indices, their high bits with the signs of shifts, levels with the bits of d."""
    out[:] = 0
    some = scratch.steps[0, lane] > ZERO
    for k in range(2 * BLOCKS):
        index = int(grid.indices[int(scratch.codes[k, lane])])
        negative = some and scratch.shifts[k, lane] < ZERO
        out[k] = index & 255
        out[32 + k // 2] |= (index >> 8 | (8 if negative else 0)) << 4 * (k % 2)
    d = to_half(scratch.steps[1, lane] * FACTOR)
    for j in range(4 if some else 0):
        word = (d >> 4 * j & 15) << 12
        for k in range(4):
            word |= int(scratch.scales[4 * j + k, lane]) << 3 * k
        put_half(out, 48 + 2 * j, word)


quantise_weighted = with_grid(ternary.weighted_kernel("IQ1_M", SIZE, _fit, _level_scales, _pack), ternary.grid)
