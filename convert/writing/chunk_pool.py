"""Chunks quantised and written on all CPUs, however fast each of them is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Final, Protocol

from glm_gguf.convert.disk_file import Bytes
from glm_gguf.convert.writing.checksum import checksum
from glm_gguf.convert.writing.rows import Chunk, convert_chunk
from glm_gguf.convert.writing.work import Job, ShardWork

CHUNKS_AHEAD: Final = 4  # per thread: no thread waits for the reader


class ChunkFile(Protocol):
    """A file that takes bytes at an offset, from any thread."""

    def write(self, data: Bytes, offset: int) -> None:
        """Write `data` at `offset`."""


@dataclass(frozen=True, slots=True)
class WrittenChunk:
    """A chunk that is in its files; its rows are no longer in memory."""

    job: Job
    start: int
    n_rows: int
    last: bool
    checksums: tuple[int, ...]
    """One a placement."""


def write_chunks(
    pool: Executor, read: Iterator[Chunk | ShardWork], files: Sequence[ChunkFile], threads: int, *, by_shard: bool
) -> Iterator[WrittenChunk | ShardWork]:
    """Write chunks on the pool; yield each in the order read, then its shard.

    At most CHUNKS_AHEAD a thread are in memory and not yet written, whichever they are: while a slow core writes one,
    the others write those behind it. With `by_shard` a shard is complete before the next one is read.
    """
    most = CHUNKS_AHEAD * threads
    places = BoundedSemaphore(most)
    ahead: deque[Future[WrittenChunk] | ShardWork] = deque()

    def write(chunk: Chunk) -> WrittenChunk:
        try:
            return _write_chunk(chunk, files)
        finally:
            places.release()

    def finished(left: int, *, wait: bool) -> Iterator[WrittenChunk | ShardWork]:
        while len(ahead) > left and (wait or isinstance(ahead[0], ShardWork) or ahead[0].done()):
            item = ahead.popleft()
            yield item if isinstance(item, ShardWork) else item.result()

    for item in read:
        if isinstance(item, ShardWork):
            ahead.append(item)
        else:
            places.acquire()
            ahead.append(pool.submit(write, item))
        complete = by_shard and isinstance(item, ShardWork)
        # a shard's checksum is known before a wrong weight is told, unless the shard is large
        yield from finished(0 if complete else most, wait=complete)
    yield from finished(0, wait=True)


def _write_chunk(chunk: Chunk, files: Sequence[ChunkFile]) -> WrittenChunk:
    checksums = []
    for placement, data in convert_chunk(chunk):
        files[placement.file].write(data, placement.place(chunk.start, len(chunk.rows))[0])
        checksums.append(checksum(data))
    return WrittenChunk(chunk.job, chunk.start, len(chunk.rows), chunk.last, tuple(checksums))
