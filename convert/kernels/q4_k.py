"""Q4_K: twins of quantize_row_q4_K_ref and quantize_row_q4_K_impl (ggml-quants.c)."""

from __future__ import annotations

import numpy as np

from glm_gguf.convert.kernels import affine_super as affine
from glm_gguf.convert.kernels.affine import factors
from glm_gguf.convert.kernels.blocks import SUPER, TWO, gather, gather_importance, sum_of_squares
from glm_gguf.convert.kernels.compiled import inlined, kernel, subroutine
from glm_gguf.convert.kernels.half import from_half, put_half
from glm_gguf.convert.kernels.k_scales import put_scales, scale_and_minimum
from glm_gguf.convert.kernels.lanes import WIDTH, Bytes, Floats, load_at, store_bytes

BYTES = 144
HIGHEST = np.float32(15)
SCALES = np.float32(63)
NIBBLE = np.float32(16)
PLAIN = factors(15, -1.0, 0.1, 20)
WEIGHTED = factors(15, -0.9, 0.05, 36)


@subroutine
def _pack(scratch: affine.Scratch, lane: int, values: Floats, out: Bytes) -> bool:
    """block_q4_K: d, dmin, 12 bytes of scales, 128 of levels; returns whether it is exact."""
    d, dmin, exact = affine.halves(scratch, lane)
    put_half(out, 0, d)
    put_half(out, 2, dmin)
    packed = out[4:16]
    put_scales(scratch, lane, packed)
    for j in range(8):
        scale, minimum = scale_and_minimum(packed, j)
        step = (from_half(d) * np.float32(scale), from_half(dmin) * np.float32(minimum))
        affine.set_final_levels(scratch, (lane, j), values, step, HIGHEST)
    for j in range(0, SUPER, 64):
        for i in range(j, j + 32, WIDTH):
            both = load_at(scratch.row, i) + NIBBLE * load_at(scratch.row, i + 32)
            store_bytes(out, 16 + i - j // 2, both)
    return exact


@inlined
def _pack_lanes(scratch: affine.Scratch, rows: Floats, first: int, out: Bytes, redo: Bytes) -> None:
    for n in range(first, min(first + WIDTH, len(redo))):
        values, block = rows[n * SUPER : (n + 1) * SUPER], out[n * BYTES : (n + 1) * BYTES]
        redo[n] = not _pack(scratch, n - first, values, block)


@kernel
def quantise(rows: Floats, out: Bytes, redo: Bytes) -> None:
    """Quantise rows (n · 256,) to out (n · 144,); redo[i] is set where block i is ggml's to do."""
    scratch = affine.make_scratch(8)
    for first in range(0, len(redo), WIDTH):
        gather(rows, first, scratch.x)
        affine.fit_by_size(scratch, HIGHEST, PLAIN, False)
        affine.quantise_scales(scratch, SCALES, SCALES)
        _pack_lanes(scratch, rows, first, out, redo)


@kernel
def quantise_weighted(rows: Floats, importance: Floats, out: Bytes, redo: Bytes) -> None:
    """The same with the importance (columns,) of the columns."""
    scratch = affine.make_scratch(8)
    for first in range(0, len(redo), WIDTH):
        count = gather(rows, first, scratch.x)
        gather_importance(importance, first, count, scratch.importance)
        sigma2 = TWO * sum_of_squares(scratch.x) / np.float32(SUPER)
        affine.fit_by_importance(scratch, HIGHEST, WEIGHTED, sigma2)
        affine.quantise_scales_by_importance(scratch, SCALES)
        _pack_lanes(scratch, rows, first, out, redo)
