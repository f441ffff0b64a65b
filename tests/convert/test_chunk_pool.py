"""A slow core holds up nothing: the others write everything else meanwhile, and the end waits for one chunk."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path
from threading import Event, Lock

import numpy as np
import pytest
from checkpoints import write_checkpoint
from damage import SMALL, choose
from topologies import LINUX, linux_tree_cores

from glm_gguf.convert import Conversion, convert
from glm_gguf.convert.disk_file import Bytes
from glm_gguf.convert.source.local_shards import LocalShards
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.writing.chunk_pool import CHUNKS_AHEAD, WrittenChunk, write_chunks
from glm_gguf.convert.writing.rows import Chunk, chunks, row_ranges
from glm_gguf.convert.writing.work import ShardWork, in_source_order
from tests.gguf_file.builder import glm4_9b

THREADS = 3
SLOW = 0.25
"""Speed of a slow core beside a fast one: that of an A55 beside an A76, or less than that of Intel's and Apple's."""


class SlowFirstWrite:
    """A file whose first write takes as long as all the others."""

    def __init__(self, n_bytes: int, n_writes: int) -> None:
        self.content = np.zeros(n_bytes, np.uint8)
        self._left, self._lock, self._others_done = n_writes, Lock(), Event()
        self._first = True
        self.in_time = True

    def write(self, data: Bytes, offset: int) -> None:
        with self._lock:
            first, self._first = self._first, False
        if first:
            self.in_time = self._others_done.wait(60)
        self.content[offset : offset + data.size] = data.reshape(-1)
        with self._lock:
            self._left -= 1
            if self._left == 1:
                self._others_done.set()


def rows_one_by_one(work: Sequence[ShardWork], shards: LocalShards) -> Iterator[Chunk | ShardWork]:
    """Every row as a chunk of its own."""
    for shard in work:
        with shards.stream(shard.name) as reader:
            for job in shard.jobs:
                for chunk in chunks(job, reader, None):
                    for row in range(len(chunk.rows)):
                        rows = chunk.rows[row : row + 1]
                        yield Chunk(job, chunk.start + row, rows, chunk.last and row == len(chunk.rows) - 1)
        yield shard


@pytest.mark.parametrize("n_shards", [1, 3])
def test_while_one_chunk_is_slow_all_others_are_written(n_shards: int, tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model", SMALL, shards=n_shards)
    conversion = Conversion.prepare(Source.local(source), tmp_path / "out.gguf", choose("F32"))
    ((path, layout),) = conversion.layouts()
    work, shards = in_source_order([layout]), LocalShards(source)
    read = list(rows_one_by_one(work, shards))
    n_chunks = len(read) - len(work)
    assert n_chunks > 10 * CHUNKS_AHEAD * THREADS
    file = SlowFirstWrite(layout.n_bytes, n_chunks)
    with ThreadPoolExecutor(THREADS) as pool:
        written = list(write_chunks(pool, iter(read), [file], THREADS, by_shard=False))
    assert file.in_time
    assert [(item.start, item.last) for item in written if isinstance(item, WrittenChunk)] == [
        (item.start, item.last) for item in read if isinstance(item, Chunk)
    ]
    assert [item for item in written if isinstance(item, ShardWork)] == list(work)
    (expected,) = convert(source, path, choose("F32"))
    data = min(layout.offsets)
    assert file.content[data:].tobytes() == expected.read_bytes()[data:]


def tail(sizes: Sequence[int], speeds: Sequence[float]) -> float:
    """Time after which threads of these speeds are done, each taking the next chunk when it is free, beyond the time
    of as many weights in arbitrarily small chunks; as a share of that."""
    free = [(0.0, speed) for speed in speeds]
    for size in sizes:
        start, speed = heapq.heappop(free)
        heapq.heappush(free, (start + size / speed, speed))
    least = sum(sizes) / sum(speeds)
    return max(free)[0] / least - 1


@pytest.mark.parametrize("name", LINUX)
def test_the_end_of_a_large_conversion_waits_for_a_slow_core_below_a_hundredth_of_its_time(
    name: str, tmp_path: Path
) -> None:
    shapes = [shape[::-1] for shape, _ in glm4_9b().tensors.values()]
    cores = linux_tree_cores(name, tmp_path)
    speeds = [SLOW if core.is_slow else 1.0 for core in cores for _ in core.cpus]
    pieces = [(stop - start) * shape[-1] for shape in shapes for start, stop in row_ranges(shape)]
    assert sum(pieces) == sum(map(prod, shapes))
    assert tail(pieces, speeds) < 0.01
