"""Fixed rows on which quantisers are compared: the same bits on every machine.

numpy's powers and normal draws differ in the last bit between processors. So the rows are made of a generator's raw
integers by operations that IEEE 754 rounds alone, one at a time.
"""

from __future__ import annotations

from math import prod

import numpy as np
import numpy.typing as npt

COLUMNS = 512  # two super-blocks
MAGNITUDES = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7)

Floats = npt.NDArray[np.float32]


def drawn(seed: int, *shape: int) -> Floats:
    """Numbers about normal, with deviation 0.5: sums of four even 16-bit numbers, times 0.43 · 2^-15."""
    parts = np.random.PCG64(seed).random_raw(prod(shape)).astype("<u8").view("<u2")
    sums = parts.reshape(*shape, 4).sum(axis=-1, dtype=np.int64) - 2 * (2**16 - 1)
    numbers: Floats = sums.astype(np.float32) * np.float32(0.43 * 2**-15)
    return numbers


def drawn_importance(seed: int, n: int) -> Floats:
    """Importance (n,): sixth powers of even numbers up to 1, so over several magnitudes; a tenth is zero."""
    raw = np.random.PCG64(seed).random_raw(2 * n)
    cubed = (raw[:n] >> 40).astype(np.float32) * np.float32(2**-24)
    cubed *= cubed * cubed
    return np.where(raw[n:] % 10 == 0, np.float32(0), cubed * cubed)


def sample_rows(seeds: tuple[int, ...] = (), denormal: bool = True) -> Floats:
    """Rows (n, COLUMNS) of every kind that takes another branch in ggml's code; then one row a seed.

    Two of the rows hold denormal weights, if `denormal`.
    """
    normal = drawn(20250414, 20, COLUMNS)
    cubed = normal[4] * normal[4] * normal[4]
    outlier = normal[0].copy()
    outlier[5::64] *= 1000
    kinds = [
        *normal,
        *normal[:4] * np.float32(0.02),
        cubed,
        cubed * cubed * cubed,
        np.abs(normal[6]),
        -np.abs(normal[7]) - 1,
        np.where(np.random.PCG64(3).random_raw(COLUMNS) % 32 == 0, normal[8], 0),
        np.zeros(COLUMNS),
        np.where(normal[9] < 0, np.float32(-0.0), np.float32(0.0)),
        np.full(COLUMNS, 0.37),
        np.full(COLUMNS, -0.37),
        np.where(normal[10] < 0, -1.0, 1.0),
        np.rint(normal[11] * 8) / 8,
        outlier,
        normal[12] * np.repeat(np.array(MAGNITUDES, np.float32), 32),
        normal[13] * np.float32(1e-7),
        normal[14] * np.float32(1e-15),
        normal[17] * np.float32(1e5),
        normal[18] * np.float32(1e6),
        np.float32(-1) + normal[19] * np.float32(1e-7),
        *((normal[15] * np.float32(1e-38), normal[16] * np.float32(1e-44)) if denormal else ()),
        *(drawn(seed, COLUMNS) for seed in seeds),
    ]
    return np.array(kinds, np.float32)


def sample_importance() -> Floats:
    """Importance (COLUMNS,) with a block of zeros."""
    importance = drawn_importance(414, COLUMNS)
    importance[64:96] = 0
    return importance
