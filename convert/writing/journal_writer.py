"""Makes safe what has been written, beside the work: to the disk first, then into the journals."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType

from glm_gguf.convert.writing.partial_file import INTERRUPTIONS, Part
from glm_gguf.errors import OutputError

SECONDS = 1.0
"""Between two recordings: what a killed conversion loses. One that is done by then leaves no journal at all."""


class JournalWriter:
    """Records what is complete on a thread of its own; all its methods are called from one other thread."""

    def __init__(self, parts: Sequence[Part], seconds: float = SECONDS) -> None:
        self._parts, self._seconds = parts, seconds
        self._waiting: dict[int, dict[str, int]] = defaultdict(dict)
        self._pool = ThreadPoolExecutor(1)
        self._running: Future[None] | None = None
        self._last = time.monotonic()

    def __enter__(self) -> JournalWriter:
        """Nothing is recorded yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the recording that is under way; raises OutputError where it failed and nothing else did.

        An interruption is a reason to record the rest too, in a run that has lasted long enough to keep anything.
        """
        self._pool.shutdown()
        if self._running is None:
            return
        if kind is None:
            self._running.result()
        elif issubclass(kind, INTERRUPTIONS):
            with suppress(OutputError):
                self._record(self._waiting)

    def completed(self, number: int, name: str, checksum: int) -> None:
        """`name` of file `number` has been written whole; raises OutputError where a recording has failed."""
        self._waiting[number][name] = checksum
        busy = self._running is not None and not self._running.done()
        if busy or time.monotonic() - self._last < self._seconds:
            return
        self.record()

    def record(self) -> None:
        """Begin to record what waits; raises OutputError where a recording has failed."""
        if self._running is not None:
            self._running.result()
        batch, self._waiting = self._waiting, defaultdict(dict)
        self._last = time.monotonic()
        self._running = self._pool.submit(self._record, batch)

    def forget(self, names: Mapping[int, Collection[str]]) -> None:
        """Take back the names of each file: what has been written under them is wrong."""
        if self._running is not None:
            self._running.result()
        for number, wrong in names.items():
            for name in wrong:
                self._waiting[number].pop(name, None)
            self._parts[number].forget(wrong)

    def _record(self, batch: Mapping[int, Mapping[str, int]]) -> None:
        for number, checksums in batch.items():
            if checksums:
                self._parts[number].record(checksums)
