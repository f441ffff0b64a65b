"""Logits to log probabilities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def log_probabilities(
    logits: npt.NDArray[np.float32], token_id: int, alternatives: int
) -> tuple[float, tuple[tuple[int, float], ...]]:
    """Return the log probability of a token, and the likeliest tokens with theirs, likeliest first."""
    highest = logits.max()
    total = float(highest) + float(np.log(np.exp(logits - highest).sum(dtype=np.float64)))
    if not alternatives:
        return float(logits[token_id]) - total, ()
    likeliest = np.argpartition(logits, -alternatives)[-alternatives:]
    likeliest = likeliest[np.argsort(-logits[likeliest], kind="stable")]
    return float(logits[token_id]) - total, tuple((int(index), float(logits[index]) - total) for index in likeliest)
