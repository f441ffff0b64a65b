"""Gather blocks into lanes, weigh their values as ggml does, write lanes as super-blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from glm_gguf.convert.kernels.compiled import inlined, subroutine
from glm_gguf.convert.kernels.lanes import WIDTH, Bytes, Floats, Lanes, fill, load, square_root, store

SUPER = 256  # QK_K: weights of a super-block
ZERO, ONE, TWO = np.float32(0), np.float32(1), np.float32(2)
GROUP_MAX_EPS = np.float32(1e-15)  # ggml-quants.c: a block with nothing larger is zero


@subroutine
def gather(rows: Floats, first: int, x: Floats) -> int:
    """Copy blocks `first`… of `rows` (n · size,) into the lanes of x (size, WIDTH); returns how many there were."""
    size = len(x)
    count = min(WIDTH, len(rows) // size - first)
    for lane in range(count):
        start = (first + lane) * size
        for i in range(size):
            x[i, lane] = rows[start + i]
    return count


@subroutine
def gather_importance(importance: Floats, first: int, count: int, weights: Floats) -> None:
    """Copy the importance of the columns into lanes as `gather` copies weights; it is the same for every row."""
    size = len(weights)
    blocks = len(importance) // size
    for lane in range(count):
        start = (first + lane) % blocks * size
        for i in range(size):
            weights[i, lane] = importance[start + i]


@inlined
def pack_lanes(pack: Callable[..., None], scratch: Any, rows: Floats, first: int, out: Bytes) -> None:
    """Write super-blocks `first`…, one a lane, by pack(scratch, lane, values, block)."""
    blocks = len(rows) // SUPER
    n_bytes = len(out) // blocks
    for n in range(first, min(first + WIDTH, blocks)):
        pack(scratch, n - first, rows[n * SUPER : (n + 1) * SUPER], out[n * n_bytes : (n + 1) * n_bytes])


@inlined
def sum_of_squares(x: Floats) -> Lanes:
    """Σ x² down each lane, in order."""
    total = fill(ZERO)
    for i in range(len(x)):
        value = load(x, i)
        total = total + value * value
    return total


@subroutine
def weigh_by_importance(x: Floats, importance: Floats, sigma2: Lanes, weights: Floats) -> Lanes:
    """weights[i] = importance[i] · sqrt(sigma2 + x²), as every quantize_row_*_impl does; returns their sum."""
    total = fill(ZERO)
    for i in range(len(x)):
        value = load(x, i)
        weight = load(importance, i) * square_root(sigma2 + value * value)
        store(weights, i, weight)
        total = total + weight
    return total
