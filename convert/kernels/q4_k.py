"""Q4_K: twins of quantize_row_q4_K_ref and quantize_row_q4_K_impl (ggml-quants.c)."""

from __future__ import annotations

import numpy as np

from glm_gguf.convert.kernels import affine_super as affine
from glm_gguf.convert.kernels.affine import factors
from glm_gguf.convert.kernels.blocks import SUPER, TWO
from glm_gguf.convert.kernels.compiled import subroutine
from glm_gguf.convert.kernels.half import from_half, put_half
from glm_gguf.convert.kernels.k_scales import put_scales, scale_and_minimum
from glm_gguf.convert.kernels.lanes import WIDTH, Bytes, Floats, load_at, store_bytes

HIGHEST = np.float32(15)
SCALES = np.float32(63)
NIBBLE = np.float32(16)
PLAIN = factors(15, -1.0, 0.1, 20)
WEIGHTED = factors(15, -0.9, 0.05, 36)


@subroutine
def _pack(scratch: affine.Scratch, lane: int, values: Floats, out: Bytes) -> None:
    """block_q4_K: d, dmin, 12 bytes of scales, 128 of levels."""
    d, dmin = affine.halves(scratch, lane)
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


FORM = affine.Form("Q4_K", 8, HIGHEST, SCALES, cap=SCALES, by_size=False, sigma=TWO, plain=PLAIN, weighted=WEIGHTED)
quantise, quantise_weighted = affine.kernels(FORM, _pack)
