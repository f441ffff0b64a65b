"""How far a batch is."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from glm_gguf.batches.result_line import LineResult, TokenCounts


@dataclass(slots=True)
class BatchProgress:
    """Counts of a run; the thread that answers changes them."""

    n_lines: int
    n_found: int
    """Results of earlier runs."""
    n_answered: int = 0
    """Results of this run."""
    n_failed: int = 0
    """Of them: those whose request was refused."""
    tokens: TokenCounts = field(default_factory=TokenCounts)
    """Of this run."""
    _started: float = field(default_factory=time.monotonic)
    _first: float = 0.0
    """When the first result came: models are loaded before."""

    def count(self, result: LineResult) -> None:
        """Count a result."""
        self._first = self._first or time.monotonic()
        self.n_answered += 1
        self.n_failed += not result.ok
        self.tokens = self.tokens + result.tokens

    @property
    def n_done(self) -> int:
        """Results in all."""
        return self.n_found + self.n_answered

    @property
    def seconds(self) -> float:
        """Since the start of this run."""
        return time.monotonic() - self._started

    @property
    def seconds_left(self) -> float | None:
        """Seconds that the rest takes at the rate since the first result; None before the second one."""
        since, rated = time.monotonic() - self._first, self.n_answered - 1
        return since / rated * (self.n_lines - self.n_done) if rated > 0 else None
