"""The work of a conversion in the order of the weights in the shards: each is read once for all outputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from glm_gguf.convert.adapter.low_rank import LowRank
from glm_gguf.convert.plan import TensorPlan
from glm_gguf.convert.source.safetensors_file import StoredTensor
from glm_gguf.convert.writing.layout import FileLayout


@dataclass(frozen=True, slots=True)
class Placement:
    """A tensor's place in an output: the number of the file, and the offset."""

    tensor: TensorPlan
    file: int
    offset: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one row as written; a vector is one row."""
        shape = self.tensor.shape
        return self.tensor.n_bytes // (shape[0] if len(shape) > 1 else 1)

    def place(self, start: int, n_rows: int) -> tuple[int, int]:
        """Where stored rows from `start` on lie in the file, and how many bytes they are there, zero rows with them."""
        row = self.tensor.source.padding.row
        first, stop = row(start), row(start + n_rows)
        return self.offset + first * self.row_bytes, (stop - first) * self.row_bytes


@dataclass(frozen=True, slots=True)
class Job:
    """One stored tensor, and its places in all outputs."""

    stored: StoredTensor
    placements: tuple[Placement, ...]

    @property
    def updates(self) -> tuple[LowRank, ...]:
        """What adapters add to the tensor, the same in all outputs."""
        return self.placements[0].tensor.source.updates


@dataclass(frozen=True, slots=True)
class ShardWork:
    """One shard's jobs, by offset."""

    name: str
    jobs: tuple[Job, ...]

    @property
    def files(self) -> dict[int, list[str]]:
        """The tensors of each file that come from this shard: number → names."""
        names: dict[int, list[str]] = defaultdict(list)
        for job in self.jobs:
            for place in job.placements:
                names[place.file].append(place.tensor.name)
        return names

    def without(self, done: Sequence[Collection[str]]) -> ShardWork:
        """The work that remains if file n has the tensors `done[n]`."""
        left = []
        for job in self.jobs:
            placements = tuple(place for place in job.placements if place.tensor.name not in done[place.file])
            if placements:
                left.append(Job(job.stored, placements))
        return ShardWork(self.name, tuple(left))


def in_source_order(layouts: Sequence[FileLayout]) -> tuple[ShardWork, ...]:
    """All work for the files, by shard and offset."""
    placements: dict[StoredTensor, list[Placement]] = defaultdict(list)
    for number, layout in enumerate(layouts):
        for tensor, offset in zip(layout.tensors, layout.offsets, strict=True):
            placements[tensor.source.stored].append(Placement(tensor, number, offset))
    shards: dict[str, list[Job]] = defaultdict(list)
    for stored in sorted(placements, key=lambda stored: (stored.shard.name, stored.offset)):
        shards[stored.shard.name].append(Job(stored, tuple(placements[stored])))
    return tuple(ShardWork(name, tuple(jobs)) for name, jobs in shards.items())
