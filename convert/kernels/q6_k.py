"""Q6_K: twins of quantize_row_q6_K_ref and quantize_row_q6_K_impl (ggml-quants.c)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from glm_gguf.convert.kernels.affine import clamped
from glm_gguf.convert.kernels.blocks import GROUP_MAX_EPS, ONE, SUPER, ZERO, gather, gather_importance, pack_lanes
from glm_gguf.convert.kernels.compiled import inlined, kernel, subroutine
from glm_gguf.convert.kernels.half import from_half, nearest_int, put_half, to_half
from glm_gguf.convert.kernels.lanes import (
    WIDTH,
    Bytes,
    Floats,
    fill,
    floor,
    load,
    load_at,
    store,
    store_at,
    store_bytes,
)
from glm_gguf.convert.kernels.symmetric import farthest_of, search, signed_level

BLOCKS, SIZE = 16, 16
NMAX = np.float32(32)
LOWEST_SCALE = np.float32(-128)
FOUR, SIXTEEN, SIXTY_FOUR = np.float32(4), np.float32(16), np.float32(64)


class Scratch(NamedTuple):
    """Working memory: values and weights (SUPER, WIDTH), what the searches found (BLOCKS, WIDTH), levels (SUPER,)."""

    x: Floats
    weights: Floats
    scales: Floats
    iscales: Floats
    zeros: Floats
    row: Floats


@inlined
def _make_scratch() -> Scratch:
    big, small = (SUPER, WIDTH), (BLOCKS, WIDTH)
    found = np.zeros(small, np.float32), np.zeros(small, np.float32), np.zeros(small, np.float32)
    return Scratch(np.zeros(big, np.float32), np.zeros(big, np.float32), *found, np.zeros(SUPER, np.float32))


@subroutine
def _fit(scratch: Scratch) -> None:
    for j in range(BLOCKS):
        block = slice(j * SIZE, (j + 1) * SIZE)
        fit = search(scratch.x[block], scratch.weights[block], NMAX)
        store(scratch.scales, j, fit.scale)
        store(scratch.iscales, j, fit.iscale)
        store(scratch.zeros, j, fit.zero)


@subroutine
def _set_final_levels(scratch: Scratch, lane: int, values: Floats, d: np.float32, scales: Bytes) -> None:
    """Final levels: nearest(x / scale), or the search's where the scale is 0."""
    for j in range(BLOCKS):
        scale = d * np.float32(np.int8(scales[j]))
        x = load_at(values, j * SIZE)
        if scale != ZERO:
            store_at(scratch.row, j * SIZE, clamped(x / scale, -NMAX, NMAX - ONE) + NMAX)
        else:
            store_at(scratch.row, j * SIZE, signed_level(scratch.iscales[j, lane] * x, NMAX) + scratch.zeros[j, lane])


@inlined
def _put_levels(row: Floats, out: Bytes) -> None:
    """128 bytes of low nibbles, 64 of the two bits above them."""
    for j in range(0, SUPER, 128):
        for i in range(0, 32, WIDTH):
            high = fill(ZERO)
            for k in range(2):
                near, far = load_at(row, j + i + 32 * k), load_at(row, j + i + 32 * k + 64)
                near_high, far_high = floor(near / SIXTEEN), floor(far / SIXTEEN)
                high = high + (near_high + SIXTEEN * far_high) * np.float32(4**k)
                near, far = near - SIXTEEN * near_high, far - SIXTEEN * far_high
                store_bytes(out, j // 2 + 32 * k + i, near + SIXTEEN * far)
            store_bytes(out, 128 + j // 4 + i, high)


@subroutine
def _pack(scratch: Scratch, lane: int, values: Floats, out: Bytes) -> None:
    """block_q6_K: levels, 16 signed bytes of scales, d."""
    largest = farthest_of(scratch.scales, lane)
    if abs(largest) < GROUP_MAX_EPS:
        out[:] = 0
        return
    iscale = LOWEST_SCALE / largest
    d = to_half(ONE / iscale)
    put_half(out, 208, d)
    for j in range(BLOCKS):
        out[192 + j] = min(127, nearest_int(iscale * scratch.scales[j, lane])) & 255
    _set_final_levels(scratch, lane, values, from_half(d), out[192:208])
    _put_levels(scratch.row, out)


@kernel
def quantise(rows: Floats, out: Bytes) -> None:
    """Quantise rows (n · 256,) to out (n · 210,)."""
    scratch = _make_scratch()
    for first in range(0, len(rows) // SUPER, WIDTH):
        gather(rows, first, scratch.x)
        for i in range(SUPER):
            store(scratch.weights, i, load(scratch.x, i) * load(scratch.x, i))
        _fit(scratch)
        pack_lanes(_pack, scratch, rows, first, out)


@kernel
def quantise_weighted(rows: Floats, importance: Floats, out: Bytes) -> None:
    """The same with the importance (columns,) of the columns, which is the whole weight."""
    scratch = _make_scratch()
    for first in range(0, len(rows) // SUPER, WIDTH):
        count = gather(rows, first, scratch.x)
        gather_importance(importance, first, count, scratch.weights)
        _fit(scratch)
        pack_lanes(_pack, scratch, rows, first, out)
