"""Q5_K: twins of quantize_row_q5_K_ref and quantize_row_q5_K_impl (ggml-quants.c)."""

from __future__ import annotations

import numpy as np

from glm_gguf.convert.kernels import affine_super as affine
from glm_gguf.convert.kernels.affine import factors
from glm_gguf.convert.kernels.blocks import TWO, ZERO
from glm_gguf.convert.kernels.compiled import subroutine
from glm_gguf.convert.kernels.half import from_half, put_half
from glm_gguf.convert.kernels.k_scales import put_scales, scale_and_minimum
from glm_gguf.convert.kernels.lanes import WIDTH, Bytes, Floats, fill, floor, load_at, store_bytes

HIGHEST = np.float32(31)
SCALES = np.float32(63)
NIBBLE = np.float32(16)
PLAIN = factors(31, -0.5, 0.1, 15)
WEIGHTED = factors(31, -0.9, 0.05, 36)


@subroutine
def _pack(scratch: affine.Scratch, lane: int, values: Floats, out: Bytes) -> None:
    """block_q5_K: d, dmin, 12 bytes of scales, 32 of high bits, 128 of low levels."""
    d, dmin = affine.halves(scratch, lane)
    put_half(out, 0, d)
    put_half(out, 2, dmin)
    packed = out[4:16]
    put_scales(scratch, lane, packed)
    for j in range(8):
        scale, minimum = scale_and_minimum(packed, j)
        step = (from_half(d) * np.float32(scale), from_half(dmin) * np.float32(minimum))
        affine.set_final_levels(scratch, (lane, j), values, step, HIGHEST)
    for i in range(0, 32, WIDTH):
        high = fill(ZERO)
        for j in range(4):
            first, second = load_at(scratch.row, 64 * j + i), load_at(scratch.row, 64 * j + 32 + i)
            first_bit, second_bit = floor(first / NIBBLE), floor(second / NIBBLE)
            high = high + (first_bit + TWO * second_bit) * np.float32(4**j)
            first, second = first - NIBBLE * first_bit, second - NIBBLE * second_bit
            store_bytes(out, 48 + 32 * j + i, first + NIBBLE * second)
        store_bytes(out, 16 + i, high)


FORM = affine.Form("Q5_K", 8, HIGHEST, SCALES, cap=SCALES, by_size=False, sigma=TWO, plain=PLAIN, weighted=WEIGHTED)
quantise, quantise_weighted = affine.kernels(FORM, _pack)
