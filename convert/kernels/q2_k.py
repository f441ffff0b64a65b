"""Q2_K: twins of quantize_row_q2_K_ref and quantize_row_q2_K_impl (ggml-quants.c)."""

from __future__ import annotations

import numpy as np

from glm_gguf.convert.kernels import affine_super as affine
from glm_gguf.convert.kernels.affine import factors
from glm_gguf.convert.kernels.blocks import SUPER, gather, gather_importance, sum_of_squares
from glm_gguf.convert.kernels.compiled import inlined, kernel, part
from glm_gguf.convert.kernels.half import from_half, put_half
from glm_gguf.convert.kernels.lanes import WIDTH, Bytes, Floats
from glm_gguf.convert.kernels.two_bits import put_crumbs

BYTES = 84
HIGHEST = np.float32(3)
SCALES = np.float32(15)
ANY_BYTE = np.float32(255)  # scale levels are not capped
PLAIN = factors(3, -0.5, 0.1, 15)
WEIGHTED = factors(3, -0.9, 0.05, 36)


@part
def _pack(room: affine.Room, lane: int, values: Floats, out: Bytes) -> bool:
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


@inlined
def _pack_lanes(room: affine.Room, rows: Floats, first: int, out: Bytes, redo: Bytes) -> None:
    for n in range(first, min(first + WIDTH, len(redo))):
        values, block = rows[n * SUPER : (n + 1) * SUPER], out[n * BYTES : (n + 1) * BYTES]
        redo[n] = not _pack(room, n - first, values, block)


@kernel
def quantise(rows: Floats, out: Bytes, redo: Bytes) -> None:
    """Quantise rows (n · 256,) to out (n · 84,); redo[i] is set where block i is ggml's to do."""
    room = affine.make_room(16)
    for first in range(0, len(redo), WIDTH):
        gather(rows, first, room.x)
        affine.fit_by_size(room, HIGHEST, PLAIN, True)
        affine.level_plainly(room, SCALES, ANY_BYTE)
        _pack_lanes(room, rows, first, out, redo)


@kernel
def quantise_weighted(rows: Floats, importance: Floats, out: Bytes, redo: Bytes) -> None:
    """The same with the importance (columns,) of the columns."""
    room = affine.make_room(16)
    for first in range(0, len(redo), WIDTH):
        count = gather(rows, first, room.x)
        gather_importance(importance, first, count, room.importance)
        sigma2 = sum_of_squares(room.x) / np.float32(SUPER)
        affine.fit_by_importance(room, HIGHEST, WEIGHTED, sigma2)
        affine.level_by_importance(room, SCALES)
        _pack_lanes(room, rows, first, out, redo)
