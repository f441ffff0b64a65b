"""Q2_K: twins of quantize_row_q2_K_ref and quantize_row_q2_K_impl (ggml-quants.c)."""

from __future__ import annotations

import numpy as np

from glm_gguf.convert.kernels import affine_super as affine
from glm_gguf.convert.kernels.affine import factors
from glm_gguf.convert.kernels.blocks import ONE
from glm_gguf.convert.kernels.compiled import subroutine
from glm_gguf.convert.kernels.half import from_half, put_half
from glm_gguf.convert.kernels.lanes import Bytes, Floats
from glm_gguf.convert.kernels.two_bits import put_two_bits

HIGHEST = np.float32(3)
SCALES = np.float32(15)
ANY_BYTE = np.float32(255)  # scale levels are not capped
PLAIN = factors(3, -0.5, 0.1, 15)
WEIGHTED = factors(3, -0.9, 0.05, 36)


@subroutine
def _pack(scratch: affine.Scratch, lane: int, values: Floats, out: Bytes) -> None:
    """block_q2_K: 16 bytes of scales and minimums, 64 of levels, d, dmin."""
    d, dmin = affine.halves(scratch, lane)
    put_half(out, 80, d)
    put_half(out, 82, dmin)
    for j in range(16):
        both = (int(scratch.scale_levels[j, lane]) | int(scratch.min_levels[j, lane]) << 4) & 255
        out[j] = both
        step = (from_half(d) * np.float32(both & 15), from_half(dmin) * np.float32(both >> 4))
        affine.set_final_levels(scratch, (lane, j), values, step, HIGHEST)
    put_two_bits(scratch.row, out[16:80])


FORM = affine.Form("Q2_K", 16, HIGHEST, SCALES, cap=ANY_BYTE, by_size=True, sigma=ONE, plain=PLAIN, weighted=WEIGHTED)
quantise, quantise_weighted = affine.kernels(FORM, _pack)
