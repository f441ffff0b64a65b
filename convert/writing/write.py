"""Write files: every shard is read once, front to back, and its rows quantised on all cores for all files."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

from glm_gguf.convert.plan import TensorPlan
from glm_gguf.convert.source.shards import ShardSource
from glm_gguf.convert.writing.checksum import chained, checksum
from glm_gguf.convert.writing.journal import Binding, identities
from glm_gguf.convert.writing.journal_writer import SECONDS, JournalWriter
from glm_gguf.convert.writing.layout import FileLayout
from glm_gguf.convert.writing.output import open_parts
from glm_gguf.convert.writing.partial_file import Part
from glm_gguf.convert.writing.resumption import still_held
from glm_gguf.convert.writing.rows import Chunk, chunks, convert_chunk
from glm_gguf.convert.writing.work import ShardWork, in_source_order
from glm_gguf.errors import ChecksumError, WeightError

CHUNKS_AHEAD = 4  # per thread: enough that no thread waits for the reader
ATTEMPTS = 3  # to get the right bytes of a shard
PROVEN = "shard:{}"
"""Stands in a journal for a shard that has been read to its end and proven; no tensor is called so."""


_log = logging.getLogger(__name__)


class Progress(Protocol):
    """Told of every tensor when it begins, and of bytes as they are written."""

    def resumed(self, tensors: Sequence[TensorPlan]) -> None:
        """These tensors are complete already, from a run that was interrupted."""

    def started(self, tensor: TensorPlan) -> None:
        """The first rows of `tensor` are in its file."""

    def wrote(self, n_bytes: int) -> None:
        """`n_bytes` more bytes of tensor data are in the files."""


class Silent:
    """Progress that nobody watches."""

    def resumed(self, tensors: Sequence[TensorPlan]) -> None:
        """Say nothing."""

    def started(self, tensor: TensorPlan) -> None:
        """Say nothing."""

    def wrote(self, n_bytes: int) -> None:
        """Say nothing."""


def write(
    outputs: Sequence[tuple[Path, FileLayout]],
    shards: ShardSource,
    threads: int,
    progress: Progress,
    seconds_between: float = SECONDS,
    *,
    sure: bool = True,
) -> None:
    """Write each layout to its path; on any error none of the files appears.

    A run that is interrupted leaves journals from which the next one goes on, kept every `seconds_between`.
    Unless one is `sure` of the bytes, an impossible weight of a shard that is yet to be proven is a ChecksumError.
    """
    layouts = [layout for _, layout in outputs]
    known = identities(layouts, shards)
    with (
        open_parts([(path, layout, Binding.of(layout, known)) for path, layout in outputs]) as parts,
        JournalWriter(parts, seconds_between) as keeper,
        ThreadPoolExecutor(threads) as pool,
        _doubting(not (sure or shards.trusted)),
    ):
        work = in_source_order(layouts)
        held = _held(still_held(parts, work, pool), work, shards)
        progress.resumed(
            [t for names, layout in zip(held, layouts, strict=True) for t in layout.tensors if t.name in names]
        )
        try:
            with closing(_read(shards, work, held, keeper)) as read:
                report = _Report(progress, keeper)
                for item in _written(pool, read, parts, threads):
                    if isinstance(item, ShardWork):
                        _proven(item, shards, keeper)
                    else:
                        report.wrote(*item)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _doubting(doubt: bool) -> Iterator[None]:
    """In `doubt`, take an impossible weight for a sign of wrong bytes."""
    try:
        yield
    except WeightError as error:
        if not doubt:
            raise
        raise ChecksumError(
            f"{error.what}, if its bytes came right", path=error.path, where=error.where, fix=error.fix
        ) from error


def write_proven(
    outputs: Sequence[tuple[Path, FileLayout]], shards: ShardSource, threads: int, progress: Progress
) -> None:
    """As `write`; where the bytes of a shard came wrong it goes on from the others and fetches that one again."""
    for attempt in range(1, ATTEMPTS):
        try:
            return write(outputs, shards, threads, progress, sure=attempt > 1)
        except ChecksumError as error:
            _log.warning("%s (attempt %d of %d)", error, attempt, ATTEMPTS)
    write(outputs, shards, threads, progress)


def _held(held: list[set[str]], work: Sequence[ShardWork], shards: ShardSource) -> list[set[str]]:
    """What each file holds for certain; of a shard that must be proven and is not, that is nothing."""
    for shard in () if shards.trusted else work:
        for number, names in shard.files.items():
            if PROVEN.format(shard.name) not in held[number]:
                held[number].difference_update(names)
    return held


def _read(
    shards: ShardSource, work: Sequence[ShardWork], held: Sequence[set[str]], keeper: JournalWriter
) -> Generator[Chunk | ShardWork]:
    """What is still wanted of every shard, in order; behind its last chunk a shard, when it is closed and proven."""
    for shard in work:
        proof = PROVEN.format(shard.name)
        left = shard.without(held)
        if not left.jobs and all(proof in held[number] for number in shard.files):
            continue
        with shards.stream(shard.name) as reader:
            for job in left.jobs:
                yield from chunks(job, reader)
            try:
                reader.finish()
            except ChecksumError:
                keeper.forget({number: [*names, proof] for number, names in shard.files.items()})
                raise
        yield shard


def _written(
    pool: ThreadPoolExecutor, read: Iterator[Chunk | ShardWork], parts: Sequence[Part], threads: int
) -> Iterator[tuple[Chunk, list[int]] | ShardWork]:
    """Chunks in the order in which they were read, when they are in their files, and then their shard.

    With a chunk comes the checksum of what each placement got. A bounded number is under way.
    """
    ahead: deque[tuple[Chunk, Future[list[int]]]] = deque()

    def landed(most: int) -> Iterator[tuple[Chunk, list[int]]]:
        while len(ahead) > most:
            done, future = ahead.popleft()
            yield done, future.result()

    for item in read:
        if isinstance(item, ShardWork):
            yield from landed(0)
            yield item
        else:
            ahead.append((item, pool.submit(_write_chunk, item, parts)))
            yield from landed(CHUNKS_AHEAD * threads)


def _write_chunk(chunk: Chunk, parts: Sequence[Part]) -> list[int]:
    checksums = []
    for placement, data in convert_chunk(chunk):
        parts[placement.file].write(data, placement.offset + chunk.start * placement.row_bytes)
        checksums.append(checksum(data))
    return checksums


def _proven(shard: ShardWork, shards: ShardSource, keeper: JournalWriter) -> None:
    """Say that a shard is done; where it had to be proven, that is worth the fetching of gigabytes."""
    for number in shard.files:
        keeper.completed(number, PROVEN.format(shard.name), 0)
    if not shards.trusted:
        keeper.record()


class _Report:
    """Tells of chunks in their order, and of tensors as they become whole."""

    def __init__(self, progress: Progress, keeper: JournalWriter) -> None:
        self._progress, self._keeper = progress, keeper
        self._checksums: list[int] = []

    def wrote(self, chunk: Chunk, checksums: list[int]) -> None:
        """A chunk is in its files; `checksums` are those of what each placement got."""
        if chunk.start == 0:
            self._checksums = [0] * len(checksums)
            for placement in chunk.job.placements:
                self._progress.started(placement.tensor)
        self._checksums = [chained(before, one) for before, one in zip(self._checksums, checksums, strict=True)]
        for placement, whole in zip(chunk.job.placements, self._checksums, strict=True):
            self._progress.wrote(len(chunk.rows) * placement.row_bytes)
            if chunk.last:
                self._keeper.completed(placement.file, placement.tensor.name, whole)
