"""IQ4_XS: twin of quantize_iq4_xs (ggml-quants.c)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

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
from glm_gguf.convert.kernels.half import nearest_int, put_half, to_half
from glm_gguf.convert.kernels.lanes import WIDTH, Bytes, Floats, load, store
from glm_gguf.convert.kernels.nonlinear import put_levels, search
from glm_gguf.convert.kernels.symmetric import farthest_of

BLOCKS, SIZE = 8, 32
STEPS = np.float32(32)


class Scratch(NamedTuple):
    """Working memory: values and weights (SUPER, WIDTH), scales (BLOCKS, WIDTH)."""

    x: Floats
    weights: Floats
    scales: Floats


@inlined
def _make_scratch() -> Scratch:
    big, small = (SUPER, WIDTH), (BLOCKS, WIDTH)
    return Scratch(np.zeros(big, np.float32), np.zeros(big, np.float32), np.zeros(small, np.float32))


@subroutine
def _fit(scratch: Scratch) -> None:
    for j in range(BLOCKS):
        block = slice(j * SIZE, (j + 1) * SIZE)
        store(scratch.scales, j, search(scratch.x[block], scratch.weights[block]))


@subroutine
def _pack(scratch: Scratch, lane: int, values: Floats, out: Bytes) -> None:
    """block_iq4_xs: d, 2 bytes and 4 bytes of scales, levels."""
    d = -farthest_of(scratch.scales, lane) / STEPS
    put_half(out, 0, to_half(d))
    inverse = ONE / d if d != ZERO else ZERO
    high = 0
    for j in range(BLOCKS):
        level = max(-32, min(31, nearest_int(inverse * scratch.scales[j, lane])))
        step = d * np.float32(level)
        put_levels(
            values[j * SIZE : (j + 1) * SIZE], ONE / step if step != ZERO else ZERO, out[8 + 16 * j : 24 + 16 * j]
        )
        low = level + 32 & 15
        out[4 + j // 2] = out[4 + j // 2] | low << 4 if j & 1 else low
        high |= level + 32 >> 4 << 2 * j
    out[2], out[3] = high & 255, high >> 8


@kernel
def quantise(rows: Floats, out: Bytes) -> None:
    """Quantise rows (n · 256,) to out (n · 136,)."""
    scratch = _make_scratch()
    for first in range(0, len(rows) // SUPER, WIDTH):
        gather(rows, first, scratch.x)
        for i in range(SUPER):
            store(scratch.weights, i, load(scratch.x, i) * load(scratch.x, i))
        _fit(scratch)
        pack_lanes(_pack, scratch, rows, first, out)


@kernel
def quantise_weighted(rows: Floats, importance: Floats, out: Bytes) -> None:
    """The same with the importance (columns,) of the columns."""
    scratch = _make_scratch()
    for first in range(0, len(rows) // SUPER, WIDTH):
        count = gather(rows, first, scratch.x)
        gather_importance(importance, first, count, scratch.weights)
        sigma2 = sum_of_squares(scratch.x) * (TWO / np.float32(SUPER))
        weigh_by_importance(scratch.x, scratch.weights, sigma2, scratch.weights)
        _fit(scratch)
        pack_lanes(_pack, scratch, rows, first, out)
