"""How long a processor computes a matrix, by its type, and what that time is worth."""

from __future__ import annotations

from collections.abc import Mapping

from gguf import GGMLQuantizationType as Type

DECODE: Mapping[Type, float] = {
    Type.Q2_K: 19.8,
    Type.Q3_K: 28.0,
    Type.Q4_K: 21.3,
    Type.Q5_K: 31.2,
    Type.Q6_K: 28.6,
    Type.Q8_0: 36.4,
    Type.Q4_0: 22.4,
    Type.Q4_1: 33.1,
    Type.Q5_0: 36.4,
    Type.Q5_1: 39.8,
    Type.IQ4_NL: 22.9,
    Type.IQ4_XS: 31.5,
    Type.IQ3_S: 83.8,
    Type.BF16: 69.1,
    Type.F16: 69.1,
}
"""Nanoseconds of a core for a thousand weights and a token. scripts/bench_types.py measured them on an EPYC with
AVX-512 and VNNI, where llama.cpp repacks weights; F16's is taken to be BF16's."""

WORTH_OF_TIME = 6.0
"""Percent by which the error must fall for a percent more time. A percent more bytes lessens it by about six at 4.8
bits per weight: a factor of four for a bit. So time is worth what bytes are."""


def decode_time(type_: Type, n_weights: int) -> float:
    """Nanoseconds of a core for a token; a type that was not measured is as slow as the slowest."""
    return DECODE.get(type_, max(DECODE.values())) * n_weights / 1000
