"""When the batch under way is aborted: it serves one request alone, so no other answer loses by it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from glm_gguf.engine.request import RequestHandle

LARGE: Final = 32
"""Tokens: a smaller batch is done sooner than aborted."""


class AbortFlag(Protocol):
    """The context's abort flag: it ends the batch under way, and all that follow until `resume`."""

    def abort(self) -> None:
        """Make the batch return soon."""

    def resume(self) -> None:
        """Compute batches again."""


class AbortableBatch:
    """The engine's thread notes when a batch begins and ends; any thread may abort it.

    The flag is raised under a lock while the batch is under way, and lowered at its end: so it never aborts another
    batch. The lock is reentrant because the garbage collector may close a model on any thread at any time.
    """

    def __init__(self, flag: AbortFlag, clock: Callable[[], float] = time.monotonic) -> None:
        self._flag = flag
        self._clock = clock
        self._lock = threading.RLock()
        self._handle: RequestHandle | None = None
        self._n_tokens = 0
        self._begun = 0.0
        self._pace = 0.0  # seconds that a token of a large batch took last
        self._half = 0.0  # the time when half of this batch will be done; it is preemptible until then
        self._aborted = False
        self._stopped = False

    def begin(self, handle: RequestHandle | None, n_tokens: int) -> None:
        """Note a batch that serves one request, or several (None). The engine's thread calls it."""
        with self._lock:
            self._handle = handle
            self._n_tokens = n_tokens
            self._begun = self._clock()
            preemptible = handle is not None and n_tokens >= LARGE and not self._aborted
            self._half = self._begun + self._pace * n_tokens / 2 if preemptible else 0.0

    def end(self, *, done: bool) -> None:
        """Note that the batch was computed, or aborted. The engine's thread calls it."""
        with self._lock:
            self._handle = None
            self._half = 0.0
            self._aborted = not done
            if not self._stopped:
                self._flag.resume()
            if done and self._n_tokens >= LARGE:
                self._pace = (self._clock() - self._begun) / self._n_tokens

    def preempt(self) -> None:
        """Abort the batch under way for a new request, if it is preemptible."""
        with self._lock:
            if self.preemptible:
                self._flag.abort()

    def abort_for(self, handle: RequestHandle) -> None:
        """Abort the batch under way, if it serves this request alone."""
        with self._lock:
            if self.is_for(handle):
                self._flag.abort()

    def stop(self) -> None:
        """Abort this batch and all that follow."""
        with self._lock:
            self._stopped = True
            self._flag.abort()

    def is_for(self, handle: RequestHandle) -> bool:
        """Tell whether the batch under way serves this request alone."""
        return self._handle is handle

    @property
    def preemptible(self) -> bool:
        """It serves one request, is large, and is less than half done.

        The batch after an aborted one is not preemptible: else new requests could abort a prefill for ever.
        """
        return self._clock() < self._half
