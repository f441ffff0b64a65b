"""Q2_K: twins of quantize_row_q2_K_ref and quantize_row_q2_K_impl (ggml-quants.c)."""

from __future__ import annotations

import numpy as np

from glm_gguf.convert.kernels import affine_super as affine
from glm_gguf.convert.kernels.affine import factors
from glm_gguf.convert.kernels.blocks import SUPER, gather, gather_importance, sum_of_squares
from glm_gguf.convert.kernels.compiled import inlined, kernel, subroutine
from glm_gguf.convert.kernels.half import from_half, put_half
from glm_gguf.convert.kernels.lanes import WIDTH, Bytes, Floats
from glm_gguf.convert.kernels.two_bits import put_two_bits

BYTES = 84
HIGHEST = np.float32(3)
SCALES = np.float32(15)
ANY_BYTE = np.float32(255)  # scale levels are not capped
PLAIN = factors(3, -0.5, 0.1, 15)
WEIGHTED = factors(3, -0.9, 0.05, 36)


@subroutine
def _pack(scratch: affine.Scratch, lane: int, values: Floats, out: Bytes) -> bool:
    """block_q2_K: 16 bytes of scales and minimums, 64 of levels, d, dmin; returns whether it is exact."""
    d, dmin, exact = affine.halves(scratch, lane)
    put_half(out, 80, d)
    put_half(out, 82, dmin)
    for j in range(16):
        both = (int(scratch.scale_levels[j, lane]) | int(scratch.min_levels[j, lane]) << 4) & 255
        out[j] = both
        step = (from_half(d) * np.float32(both & 15), from_half(dmin) * np.float32(both >> 4))
        affine.set_final_levels(scratch, (lane, j), values, step, HIGHEST)
    put_two_bits(scratch.row, out[16:80])
    return exact


@inlined
def _pack_lanes(scratch: affine.Scratch, rows: Floats, first: int, out: Bytes, redo: Bytes) -> None:
    for n in range(first, min(first + WIDTH, len(redo))):
        values, block = rows[n * SUPER : (n + 1) * SUPER], out[n * BYTES : (n + 1) * BYTES]
        redo[n] = not _pack(scratch, n - first, values, block)


@kernel
def quantise(rows: Floats, out: Bytes, redo: Bytes) -> None:
    """Quantise rows (n · 256,) to out (n · 84,); redo[i] is set where block i is ggml's to do."""
    scratch = affine.make_scratch(16)
    for first in range(0, len(redo), WIDTH):
        gather(rows, first, scratch.x)
        affine.fit_by_size(scratch, HIGHEST, PLAIN, True)
        affine.quantise_scales(scratch, SCALES, ANY_BYTE)
        _pack_lanes(scratch, rows, first, out, redo)


@kernel
def quantise_weighted(rows: Floats, importance: Floats, out: Bytes, redo: Bytes) -> None:
    """The same with the importance (columns,) of the columns."""
    scratch = affine.make_scratch(16)
    for first in range(0, len(redo), WIDTH):
        count = gather(rows, first, scratch.x)
        gather_importance(importance, first, count, scratch.importance)
        sigma2 = sum_of_squares(scratch.x) / np.float32(SUPER)
        affine.fit_by_importance(scratch, HIGHEST, WEIGHTED, sigma2)
        affine.quantise_scales_by_importance(scratch, SCALES)
        _pack_lanes(scratch, rows, first, out, redo)
