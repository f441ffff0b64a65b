"""The batch curve: seconds that this machine takes for a decode batch, by its rows."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from typing import Final

MOST_ROWS: Final = 31
"""Rows of a batch that counts as decode; a larger one is prefill."""
SIZES: Final = (4, 8, 16, MOST_ROWS)
"""Rows of batches that are tried: kernels compute rows by fours, so that the curve has steps."""
_FIRST: Final = 2
"""Measurements of a size until it counts as tried; the first also sets up the graph."""
_LATEST: Final = 4
"""Measurements of one number of rows, of which the shortest counts: other processes only make a batch longer."""
_MOST_AGE: Final = 256
"""Batches after which a measurement is forgotten: one that was slow by chance would never be tried again."""


class BatchCurve:
    """The shortest of the latest measurements of each number of rows, with straight lines between them."""

    def __init__(self) -> None:
        self._latest: dict[int, deque[float]] = {}
        self._seconds: dict[int, float] = {}
        self._noted_at: dict[int, int] = {}
        self._n_noted = 0

    @property
    def reach(self) -> int:
        """Rows of the largest batch that is worth a try: twice what is known. 0 while nothing is known."""
        return min(MOST_ROWS, max(4, 2 * max(self._seconds))) if self._seconds else 0

    def untried(self, most: int) -> list[int]:
        """List the SIZES up to `most` rows that were not tried lately, the largest first."""
        return [size for size in reversed(SIZES) if size <= most and len(self._latest.get(size, ())) < _FIRST]

    def note(self, rows: int, seconds: float) -> None:
        """Take a measurement of a batch of at most MOST_ROWS."""
        self._n_noted += 1
        latest = self._latest.setdefault(rows, deque(maxlen=_LATEST))
        latest.append(seconds)
        self._seconds[rows] = min(latest)
        self._noted_at[rows] = self._n_noted
        for old in [old for old, noted in self._noted_at.items() if self._n_noted - noted > _MOST_AGE]:
            del self._latest[old], self._seconds[old], self._noted_at[old]

    def seconds(self, rows: int) -> float:
        """Estimate a batch; there is at least one measurement."""
        known = sorted(self._seconds)
        if len(known) == 1:
            return self._seconds[known[0]]
        above = min(max(bisect_left(known, rows), 1), len(known) - 1)
        low, high = known[above - 1], known[above]
        slope = max((self._seconds[high] - self._seconds[low]) / (high - low), 0.0)
        return self._seconds[low] + slope * max(rows - low, 0)
