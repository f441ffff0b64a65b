"""Q2_K: twins of quantize_row_q2_K_ref and quantize_row_q2_K_impl (ggml-quants.c)."""

from __future__ import annotations

import numpy as np

from glm_gguf.convert.kernels import affine_super as affine
from glm_gguf.convert.kernels.affine import factors
from glm_gguf.convert.kernels.blocks import SUPER, gather, gather_importance, sum_of_squares
from glm_gguf.convert.kernels.compiled import kernel, part
from glm_gguf.convert.kernels.crumbs import put_crumbs
from glm_gguf.convert.kernels.half import from_half, put_half
from glm_gguf.convert.kernels.lanes import WIDTH, Bytes, Floats

HIGHEST = np.float32(3)
SCALES = np.float32(15)
BYTE = np.float32(255)
NIBBLE = np.float32(16)
PLAIN = factors(3, -0.5, 0.1, 15)
WEIGHTED = factors(3, -0.9, 0.05, 36)


@part
def _pack(room: affine.Space, lane: int, values: Floats, out: Bytes) -> bool:
    """block_q2_K: 16 bytes of scales and minimums, 64 of levels, d, dmin; returns whether it is exact."""
    d, dmin, exact = affine.halves(room, lane)
    put_half(out, 80, d)
    put_half(out, 82, dmin)
    for j in range(16):
        both = (int(room.scale_levels[j, lane]) | int(room.min_levels[j, lane]) << 4) & 255
        out[j] = both
        step = (from_half(d) * np.float32(both & 15), from_half(dmin) * np.float32(both >> 4))
        affine.settle(room, (lane, j), values, step, HIGHEST)
    put_crumbs(room.row, out[16:80])
    return exact


@kernel
def quantise(rows: Floats, out: Bytes, redo: Bytes) -> None:
    """Quantise rows (n · 256,) to out (n · 84,); redo[i] is set where block i is ggml's to do."""
    room = affine.make_space(16)
    for first in range(0, len(redo), WIDTH):
        count = gather(rows, first, room.x)
        affine.fit_by_size(room, HIGHEST, PLAIN, True)
        affine.level_plainly(room, SCALES, BYTE)
        for lane in range(count):
            n = first + lane
            exact = _pack(room, lane, rows[n * SUPER : (n + 1) * SUPER], out[n * 84 : (n + 1) * 84])
            redo[n] = not exact


@kernel
def quantise_weighted(rows: Floats, importance: Floats, out: Bytes, redo: Bytes) -> None:
    """The same with the importance (columns,) of the columns."""
    room = affine.make_space(16)
    for first in range(0, len(redo), WIDTH):
        count = gather(rows, first, room.x)
        gather_importance(importance, first, count, room.importance)
        sigma2 = sum_of_squares(room.x) / np.float32(SUPER)
        affine.fit_by_importance(room, HIGHEST, WEIGHTED, sigma2)
        affine.level_by_importance(room, SCALES)
        for lane in range(count):
            n = first + lane
            exact = _pack(room, lane, rows[n * SUPER : (n + 1) * SUPER], out[n * 84 : (n + 1) * 84])
            redo[n] = not exact
