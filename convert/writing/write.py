"""Write files: each shard is read once, front to back, and its rows are quantised on all cores for all files."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

from glm_gguf.convert.plan import TensorPlan
from glm_gguf.convert.source.fp8 import Floats, read_scales
from glm_gguf.convert.source.safetensors_file import StoredTensor
from glm_gguf.convert.source.shards import ShardSource
from glm_gguf.convert.writing.checksum import chained
from glm_gguf.convert.writing.chunk_pool import WrittenChunk, write_chunks
from glm_gguf.convert.writing.intact_tensors import recorded_and_intact
from glm_gguf.convert.writing.journal import Binding, identities
from glm_gguf.convert.writing.journal_writer import RECORDING_INTERVAL, JournalWriter
from glm_gguf.convert.writing.layout import FileLayout
from glm_gguf.convert.writing.output import open_partial_files
from glm_gguf.convert.writing.rows import Chunk, chunks
from glm_gguf.convert.writing.work import ShardWork, in_source_order
from glm_gguf.errors import ChecksumError, ShardError, WeightError

ATTEMPTS = 3  # to get the right bytes of a shard
CHECKED_SHARD = "shard:{}"
"""The name in a journal for a shard that was read to its end and has the listed checksum; no tensor has such a name."""


_log = logging.getLogger(__name__)


@runtime_checkable
class Progress(Protocol):
    """Receives the progress of a conversion."""

    def resumed(self, tensors: Sequence[TensorPlan]) -> None:
        """An interrupted run completed these tensors."""

    def started(self, tensor: TensorPlan) -> None:
        """The first rows of `tensor` are in its file."""

    def wrote(self, n_bytes: int) -> None:
        """`n_bytes` more bytes of tensor data are in the files."""


class Silent:
    """Progress that is shown nowhere."""

    def resumed(self, tensors: Sequence[TensorPlan]) -> None:
        """Show nothing."""

    def started(self, tensor: TensorPlan) -> None:
        """Show nothing."""

    def wrote(self, n_bytes: int) -> None:
        """Show nothing."""


def write(
    outputs: Sequence[tuple[Path, FileLayout]],
    shards: ShardSource,
    threads: int,
    progress: Progress,
    recording_interval: float = RECORDING_INTERVAL,
    *,
    doubt_weights: bool = False,
) -> None:
    """Write each layout to its path; after an error none of the files appears.

    An interrupted run leaves journals, written every `recording_interval` seconds; the next run continues from them.
    With `doubt_weights`, an impossible weight of an unchecked shard is a ChecksumError, else a WeightError.
    """
    layouts = [layout for _, layout in outputs]
    known = identities(layouts, shards)
    with (
        open_partial_files([(path, layout, Binding.of(layout, known)) for path, layout in outputs]) as files,
        JournalWriter(files, recording_interval) as journals,
        ThreadPoolExecutor(threads) as pool,
        _weights_doubted(doubt_weights and not shards.trusted),
    ):
        work = in_source_order(layouts)
        done = _without_unchecked(recorded_and_intact(files, work, pool), work, shards)
        resumed = [t for names, layout in zip(done, layouts, strict=True) for t in layout.tensors if t.name in names]
        progress.resumed(resumed)
        try:
            with closing(_read(shards, work, done, journals)) as read:
                report = _Report(progress, journals)
                # a shard that is checked took gigabytes of transfer: it is recorded before the next one is read
                for item in write_chunks(pool, read, files, threads, by_shard=not shards.trusted):
                    if isinstance(item, ShardWork):
                        _record_shard(item, shards, journals)
                    else:
                        report.wrote(item)
            _require_unchanged(layouts, shards, known)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _require_unchanged(layouts: Sequence[FileLayout], shards: ShardSource, known: Mapping[str, str]) -> None:
    """Raise ShardError if a file was written while it was read: the bytes may be of two versions."""
    now = {shards.where(name): identity for name, identity in identities(layouts, shards).items()}
    found = {shards.where(name): identity for name, identity in known.items()}
    updates = (update for layout in layouts for tensor in layout.tensors for update in tensor.source.updates)
    for factor in (factor for update in updates for factor in (update.left, update.right)):
        if factor.where not in now:
            now[factor.where], found[factor.where] = factor.identity_now(), factor.identity
    for where, identity in found.items():
        if now[where] != identity:
            raise ShardError("has changed while it was converted", path=where, fix="convert it when nothing writes it")


@contextmanager
def _weights_doubted(doubted: bool) -> Iterator[None]:
    """Turn a WeightError into a ChecksumError: a transfer may have damaged the weight."""
    try:
        yield
    except WeightError as error:
        if not doubted:
            raise
        raise ChecksumError(
            f"{error.what}, if its bytes are right", path=error.path, where=error.where, fix=error.fix
        ) from error


def write_with_retries(
    outputs: Sequence[tuple[Path, FileLayout]], shards: ShardSource, threads: int, progress: Progress
) -> None:
    """As `write`; a shard whose bytes are wrong is fetched up to three times, the other shards are kept."""
    for attempt in range(1, ATTEMPTS):
        try:
            return write(outputs, shards, threads, progress, doubt_weights=attempt == 1)
        except ChecksumError as error:
            _log.warning("%s (attempt %d of %d)", error, attempt, ATTEMPTS)
    write(outputs, shards, threads, progress)


def _without_unchecked(done: list[set[str]], work: Sequence[ShardWork], shards: ShardSource) -> list[set[str]]:
    """Drop from each file's names the tensors of shards that need a check and have none."""
    for shard in () if shards.trusted else work:
        for number, names in shard.files.items():
            if CHECKED_SHARD.format(shard.name) not in done[number]:
                done[number].difference_update(names)
    return done


def _read(
    shards: ShardSource, work: Sequence[ShardWork], done: Sequence[set[str]], journals: JournalWriter
) -> Generator[Chunk | ShardWork]:
    """The missing chunks of every shard in order; each shard follows its last chunk once its checksum is right."""
    scales = _scales(shards, work, done)
    for shard in work:
        checked = CHECKED_SHARD.format(shard.name)
        left = shard.without(done)
        if not left.jobs and all(checked in done[number] for number in shard.files):
            continue
        with shards.stream(shard.name) as reader:
            for job in left.jobs:
                yield from chunks(job, reader, scales.get(job.stored))
            try:
                reader.finish()
            except ChecksumError:
                journals.forget({number: [*names, checked] for number, names in shard.files.items()})
                raise
        yield shard


def _scales(shards: ShardSource, work: Sequence[ShardWork], done: Sequence[set[str]]) -> dict[StoredTensor, Floats]:
    """The scales of all missing FP8 tensors, read before the streams, which check them too."""
    found: dict[StoredTensor, Floats] = {}
    for job in (job for shard in work for job in shard.without(done).jobs):
        scales = read_scales(job.stored, shards)
        if scales is not None:
            found[job.stored] = scales
    return found


def _record_shard(shard: ShardWork, shards: ShardSource, journals: JournalWriter) -> None:
    """Note that a shard is done; a checked one is recorded at once."""
    for number in shard.files:
        journals.completed(number, CHECKED_SHARD.format(shard.name), 0)
    if not shards.trusted:
        journals.record()


class _Report:
    """Reports chunks in their order, and tensors as they become complete."""

    def __init__(self, progress: Progress, journals: JournalWriter) -> None:
        self._progress, self._journals = progress, journals
        self._checksums: list[int] = []

    def wrote(self, chunk: WrittenChunk) -> None:
        """A chunk is in its files."""
        if chunk.start == 0:
            self._checksums = [0] * len(chunk.checksums)
            for placement in chunk.job.placements:
                self._progress.started(placement.tensor)
        self._checksums = [chained(before, one) for before, one in zip(self._checksums, chunk.checksums, strict=True)]
        for placement, whole in zip(chunk.job.placements, self._checksums, strict=True):
            self._progress.wrote(placement.place(chunk.start, chunk.n_rows)[1])
            if chunk.last:
                self._journals.completed(placement.file, placement.tensor.name, whole)
