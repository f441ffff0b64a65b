"""Records complete tensors beside the work: the data goes to the disk first, then its checksums to the journals."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType

from glm_gguf.convert.writing.partial_file import INTERRUPTIONS, PartialFile
from glm_gguf.errors import OutputError

RECORDING_INTERVAL = 1.0
"""Seconds between two recordings: the work that a killed conversion loses. A shorter one leaves no journal."""


class JournalWriter:
    """Records complete tensors on a thread of its own; one other thread calls its methods."""

    def __init__(self, files: Sequence[PartialFile], interval: float = RECORDING_INTERVAL) -> None:
        """Record in the journals of `files` every `interval` seconds."""
        self._files, self._interval = files, interval
        self._waiting: dict[int, dict[str, int]] = defaultdict(dict)
        self._pool = ThreadPoolExecutor(1)
        self._running: Future[None] | None = None
        self._last = time.monotonic()

    def __enter__(self) -> JournalWriter:
        """Record nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the running recording; raises OutputError if it failed and nothing else did.

        An interruption records the rest too, once a first recording has begun.
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
        """Note that `name` of file `number` is written; raises OutputError if an earlier recording failed."""
        self._waiting[number][name] = checksum
        busy = self._running is not None and not self._running.done()
        if busy or time.monotonic() - self._last < self._interval:
            return
        self.record()

    def record(self) -> None:
        """Begin to record what was noted; raises OutputError if an earlier recording failed."""
        if self._running is not None:
            self._running.result()
        batch, self._waiting = self._waiting, defaultdict(dict)
        self._last = time.monotonic()
        self._running = self._pool.submit(self._record, batch)

    def forget(self, names: Mapping[int, Collection[str]]) -> None:
        """Revoke names of each file: the data written under them is wrong."""
        if self._running is not None:
            self._running.result()
        for number, wrong in names.items():
            for name in wrong:
                self._waiting[number].pop(name, None)
            self._files[number].forget(wrong)

    def _record(self, batch: Mapping[int, Mapping[str, int]]) -> None:
        for number, checksums in batch.items():
            if checksums:
                self._files[number].record(checksums)
