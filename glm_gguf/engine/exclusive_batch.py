"""The batch under way, if it is computed for one request alone: nobody else loses when it is given up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from glm_gguf.engine.request import RequestHandle

LARGE: Final = 32
"""Tokens from which on a batch is worth not waiting for."""


class AbortFlag(Protocol):
    """What ends the batch under way, and keeps the next ones from being computed until it is lowered: the context."""

    def abort(self) -> None:
        """Make the batch return soon."""

    def resume(self) -> None:
        """Let batches go through again."""


class ExclusiveBatch:
    """The engine's thread tells when a batch begins and ends; any thread has it given up.

    The flag is raised under a lock, while the batch that is meant is under way, and lowered when it ends: so it never
    meets another one. The lock may be taken twice by one thread, since the collector may close a model anywhere.
    """

    def __init__(self, flag: AbortFlag, clock: Callable[[], float] = time.monotonic) -> None:
        self._flag = flag
        self._clock = clock
        self._lock = threading.RLock()
        self._handle: RequestHandle | None = None
        self._n_tokens = 0
        self._begun = 0.0
        self._pace = 0.0  # seconds that a token of a large batch took last
        self._half = 0.0  # the time at which half of this one will be computed, if it gives way until then
        self._aborted = False
        self._stopped = False

    def begin(self, handle: RequestHandle | None, n_tokens: int) -> None:
        """Note a batch, which is for one request or for several (None)."""
        with self._lock:
            self._handle = handle
            self._n_tokens = n_tokens
            self._begun = self._clock()
            preemptible = handle is not None and n_tokens >= LARGE and not self._aborted
            self._half = self._begun + self._pace * n_tokens / 2 if preemptible else 0.0

    def end(self, *, done: bool) -> None:
        """Note that it was computed, or given up."""
        with self._lock:
            self._handle = None
            self._half = 0.0
            self._aborted = not done
            if not self._stopped:
                self._flag.resume()
            if done and self._n_tokens >= LARGE:
                self._pace = (self._clock() - self._begun) / self._n_tokens

    def preempt(self) -> None:
        """Have the batch under way given up for a newcomer, if it gives way."""
        with self._lock:
            if self.preemptible:
                self._flag.abort()

    def abort_for(self, handle: RequestHandle) -> None:
        """Have the batch under way given up, if it holds nothing but tokens of a request."""
        with self._lock:
            if self.is_for(handle):
                self._flag.abort()

    def stop(self) -> None:
        """Have this batch and all that follow given up."""
        with self._lock:
            self._stopped = True
            self._flag.abort()

    def is_for(self, handle: RequestHandle) -> bool:
        """Tell whether it holds nothing but tokens of a request."""
        return self._handle is handle

    @property
    def preemptible(self) -> bool:
        """Less than half of it is computed, and a newcomer would wait long for the rest.

        The one that follows does not, so that there is an end to it, whoever comes and goes.
        """
        return self._clock() < self._half
