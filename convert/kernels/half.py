"""float32 to half precision and back, and nearest_int, one number at a time: twins of ggml-impl.h's."""

from __future__ import annotations

import numpy as np

from glm_gguf.convert.kernels.compiled import inlined

HALF = np.float32(0.5)
DENORMAL_HALF = np.float32(2.0**-24)
ROUNDER = np.float32(12582912.0)  # 1.5 * 2^23: adding it leaves a whole number in the low bits


@inlined
def to_half(value: np.float32) -> int:
    """ggml_compute_fp32_to_fp16: bits of the nearest half, ties to even; infinity from 65520 on, 0x7E00 for NaN."""
    bits = int(np.float32(value).view(np.uint32))
    sign, size = (bits >> 16) & 0x8000, bits & 0x7FFFFFFF
    if size >= 0x477FF000:
        return sign | (0x7E00 if size > 0x7F800000 else 0x7C00)
    if size < 0x38800000:  # below 2^-14 halves are multiples of 2^-24, as floats are from 0.5 on
        shifted = np.uint32(size).view(np.float32) + HALF
        return sign | (int(np.float32(shifted).view(np.uint32)) - 0x3F000000)
    return sign | ((size + 0xFFF + ((size >> 13) & 1) - 0x38000000) >> 13)


@inlined
def from_half(bits: int) -> np.float32:
    """ggml_compute_fp16_to_fp32: the half's value; infinities and NaN too."""
    exponent, mantissa = (bits >> 10) & 31, bits & 0x3FF
    if exponent == 0:
        size = np.float32(mantissa) * DENORMAL_HALF
    else:
        size = np.uint32((255 if exponent == 31 else exponent + 112) << 23 | mantissa << 13).view(np.float32)
    return -size if bits & 0x8000 else size


@inlined
def nearest_int(value: np.float32) -> int:
    """nearest_int (ggml-quants.c), for every bit pattern."""
    return (int(np.float32(value + ROUNDER).view(np.int32)) & 0x007FFFFF) - 0x00400000


@inlined
def put_half(out: np.ndarray, offset: int, bits: int) -> None:
    """Write a half into bytes, little-endian."""
    out[offset] = bits & 0xFF
    out[offset + 1] = bits >> 8
