"""The rows on which a kernel is compared with ggml before it is used."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

COLUMNS = 512  # two super-blocks

Floats = npt.NDArray[np.float32]


def sample_rows() -> Floats:
    """Rows (n, COLUMNS) of every kind that takes another branch in ggml's code, fixed by a seed."""
    rng = np.random.default_rng(20250414)
    normal = rng.standard_normal((24, COLUMNS), np.float32)
    outlier = normal[0].copy()
    outlier[5::64] *= 1000
    kinds = [
        *normal,
        *normal[:4] * np.float32(0.02),
        normal[4] ** 3,
        normal[5] ** 9,
        np.abs(normal[6]),
        -np.abs(normal[7]) - 1,
        normal[8] * (rng.random(COLUMNS) < 0.03),
        np.zeros(COLUMNS),
        np.where(normal[9] < 0, np.float32(-0.0), np.float32(0.0)),
        np.full(COLUMNS, 0.37),
        np.full(COLUMNS, -0.37),
        np.where(normal[10] < 0, -1.0, 1.0),
        np.round(normal[11] * 4) / 8,
        outlier,
        normal[12] * np.repeat(10.0 ** np.arange(-8, 8), 32),
        normal[13] * 1e-7,
        normal[14] * 1e-15,
        normal[15] * 1e-38,
        normal[16] * 1e-44,
        normal[17] * 1e5,
        normal[18] * 1e9,
        np.float32(-1) + normal[19] * np.float32(1e-7),
    ]
    return np.array(kinds, np.float32)


def sample_importance() -> Floats:
    """Importance (COLUMNS,) over several magnitudes, some of it zero."""
    rng = np.random.default_rng(414)
    importance = rng.random(COLUMNS, np.float32) ** 6
    importance[rng.random(COLUMNS) < 0.1] = 0
    importance[64:96] = 0
    return importance
