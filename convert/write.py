"""Write files: every shard is read once, front to back, and its rows quantised on all cores for all files."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Protocol

from glm_gguf.convert.journal import Binding, identities
from glm_gguf.convert.keeper import SECONDS, Keeper
from glm_gguf.convert.layout import FileLayout
from glm_gguf.convert.output import open_parts
from glm_gguf.convert.part import Part
from glm_gguf.convert.plan import TensorPlan
from glm_gguf.convert.rows import Chunk, chunks, convert_chunk
from glm_gguf.convert.shards import ShardSource
from glm_gguf.convert.work import ShardWork, in_source_order
from glm_gguf.errors import TransferError

CHUNKS_AHEAD = 4  # per thread: enough that no thread waits for the reader
PROVEN = "shard:{}"
"""Stands in a journal for a shard that has been read to its end and proven; no tensor is called so."""


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
) -> None:
    """Write each layout to its path; on any error none of the files appears.

    A run that is interrupted leaves journals from which the next one goes on, kept every `seconds_between`.
    """
    layouts = [layout for _, layout in outputs]
    known = identities(layouts, shards)
    with (
        open_parts([(path, layout, Binding.of(layout, known)) for path, layout in outputs]) as parts,
        Keeper(parts, seconds_between) as keeper,
        ThreadPoolExecutor(threads) as pool,
    ):
        progress.resumed(
            [tensor for part, layout in zip(parts, layouts, strict=True) for tensor in _done(part, layout)]
        )
        try:
            with closing(_read(shards, in_source_order(layouts), parts, keeper)) as read:
                for chunk in _written(pool, read, parts, threads):
                    _report(chunk, progress, keeper)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _done(part: Part, layout: FileLayout) -> Iterator[TensorPlan]:
    return (tensor for tensor in layout.tensors if tensor.name in part.done)


def _read(shards: ShardSource, work: Sequence[ShardWork], parts: Sequence[Part], keeper: Keeper) -> Generator[Chunk]:
    """What is still wanted of every shard, in order; a shard is closed and proven behind its last chunk."""
    for shard in work:
        proof = PROVEN.format(shard.name)
        left = shard.without([part.done for part in parts])
        if not left.jobs and all(proof in parts[number].done for number in shard.files):
            continue
        with shards.stream(shard.name) as reader:
            for job in left.jobs:
                yield from chunks(job, reader)
            try:
                reader.finish()
            except TransferError:
                keeper.forget({number: [*names, proof] for number, names in shard.files.items()})
                raise
        for number in shard.files:
            keeper.completed(number, proof)


def _written(pool: ThreadPoolExecutor, read: Iterator[Chunk], parts: Sequence[Part], threads: int) -> Iterator[Chunk]:
    """Chunks in the order in which they were read, when they are in their files; a bounded number is under way."""
    ahead: deque[tuple[Chunk, Future[None]]] = deque()
    for chunk in read:
        ahead.append((chunk, pool.submit(_write_chunk, chunk, parts)))
        if len(ahead) > CHUNKS_AHEAD * threads:
            done, future = ahead.popleft()
            future.result()
            yield done
    for done, future in ahead:
        future.result()
        yield done


def _write_chunk(chunk: Chunk, parts: Sequence[Part]) -> None:
    for placement, data in convert_chunk(chunk):
        parts[placement.file].write(data, placement.offset + chunk.start * placement.row_bytes)


def _report(chunk: Chunk, progress: Progress, keeper: Keeper) -> None:
    for placement in chunk.job.placements:
        if chunk.start == 0:
            progress.started(placement.tensor)
        progress.wrote(len(chunk.rows) * placement.row_bytes)
        if chunk.last:
            keeper.completed(placement.file, placement.tensor.name)
