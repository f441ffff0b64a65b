"""A C pointer that many threads use and any may close: its last user frees it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from glm_gguf.errors import EngineError

P = TypeVar("P")
Refusal = Callable[[], EngineError]
"""Makes the error for use after close(): a new one each time, since many threads raise it."""


class SharedPointer(Generic[P]):
    """Owner of a C object; any thread may use it, none waits, and it is freed once.

    The lock is reentrant: Python's garbage collector may close a model anywhere, also inside this class.
    """

    def __init__(self, pointer: P, free: Callable[[P], None], path: Path) -> None:
        self._pointer: P | None = pointer
        self._free = free
        self._refusal: Refusal = lambda: EngineError("the model is closed", path=path)
        self._lock = threading.RLock()
        self._users = 0
        self._closed = False

    def acquire(self) -> P:
        """Begin a use of the object, until release(); EngineError after close()."""
        with self._lock:
            self._users += 1  # first, so that it cannot be freed in between
        pointer = self._pointer
        if self._closed or pointer is None:
            self.release()
            raise self._refusal()
        return pointer

    def release(self) -> None:
        """End a use."""
        with self._lock:
            self._users -= 1
            self._free_unused()

    @contextmanager
    def used(self) -> Iterator[P]:
        """Use the object inside a block; EngineError after close()."""
        pointer = self.acquire()
        try:
            yield pointer
        finally:
            self.release()

    def close(self, refusal: Refusal | None = None) -> None:
        """Refuse later uses, and free the object now or at the end of its last use. A second call does nothing."""
        with self._lock:
            if refusal is not None and not self._closed:
                self._refusal = refusal
            self._closed = True
            self._free_unused()

    def _free_unused(self) -> None:
        if self._closed and not self._users:
            pointer, self._pointer = self._pointer, None
            if pointer is not None:
                self._free(pointer)
