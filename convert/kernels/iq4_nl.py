"""IQ4_NL: twin of quantize_iq4_nl (ggml-quants.c)."""

from __future__ import annotations

import numpy as np

from glm_gguf.convert.kernels.blocks import (
    ONE,
    TWO,
    ZERO,
    gather,
    gather_importance,
    sum_of_squares,
    weigh_by_importance,
)
from glm_gguf.convert.kernels.compiled import inlined, kernel
from glm_gguf.convert.kernels.half import put_half, to_half
from glm_gguf.convert.kernels.lanes import WIDTH, Bytes, Floats, load, store
from glm_gguf.convert.kernels.nonlinear import put_levels, search

SIZE, BYTES = 32, 18


@inlined
def _pack(scales: Floats, rows: Floats, first: int, out: Bytes) -> None:
    """block_iq4_nl of every lane: d, levels."""
    for n in range(first, min(first + WIDTH, len(rows) // SIZE)):
        scale = scales[0, n - first]
        put_half(out, n * BYTES, to_half(scale))
        inverse = ONE / scale if scale != ZERO else ZERO
        put_levels(rows[n * SIZE : (n + 1) * SIZE], inverse, out[n * BYTES + 2 : (n + 1) * BYTES])


@kernel
def quantise(rows: Floats, out: Bytes) -> None:
    """Quantise rows (n · 32,) to out (n · 18,)."""
    x, weights = np.zeros((SIZE, WIDTH), np.float32), np.zeros((SIZE, WIDTH), np.float32)
    scales = np.zeros((1, WIDTH), np.float32)
    for first in range(0, len(rows) // SIZE, WIDTH):
        gather(rows, first, x)
        for i in range(SIZE):
            store(weights, i, load(x, i) * load(x, i))
        store(scales, 0, search(x, weights))
        _pack(scales, rows, first, out)


@kernel
def quantise_weighted(rows: Floats, importance: Floats, out: Bytes) -> None:
    """The same with the importance (columns,) of the columns."""
    x, weights = np.zeros((SIZE, WIDTH), np.float32), np.zeros((SIZE, WIDTH), np.float32)
    scales = np.zeros((1, WIDTH), np.float32)
    for first in range(0, len(rows) // SIZE, WIDTH):
        count = gather(rows, first, x)
        gather_importance(importance, first, count, weights)
        weigh_by_importance(x, weights, sum_of_squares(x) * (TWO / np.float32(SIZE)), weights)
        store(scales, 0, search(x, weights))
        _pack(scales, rows, first, out)
