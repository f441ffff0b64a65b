"""Which recorded tensors of partial files are intact, by their checksums."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Executor

from glm_gguf.convert.writing.checksum import chained, checksum
from glm_gguf.convert.writing.partial_file import PartialFile
from glm_gguf.convert.writing.rows import row_ranges
from glm_gguf.convert.writing.work import Placement, ShardWork

_log = logging.getLogger(__name__)


def recorded_and_intact(files: Sequence[PartialFile], work: Sequence[ShardWork], pool: Executor) -> list[set[str]]:
    """The names that each file's journal records and whose bytes have the recorded checksum.

    All bytes are read again: disks fail, copies have holes, and a journal may name what was never written.
    """
    places = [place for shard in work for job in shard.jobs for place in job.placements]
    recorded = [place for place in places if place.tensor.name in files[place.file].recorded]
    done = [set(file.recorded) for file in files]
    intact = pool.map(lambda place: _is_intact(files[place.file], place), recorded)
    damaged = [place for place, whole in zip(recorded, intact, strict=True) if not whole]
    for place in damaged:
        done[place.file].discard(place.tensor.name)
    if damaged:
        names = ", ".join(sorted({files[place.file].partial.name for place in damaged}))
        _log.warning("%s: %d tensors have changed since they were written; converting them again", names, len(damaged))
    return done


def _is_intact(file: PartialFile, place: Placement) -> bool:
    found = 0
    try:
        for start, stop in row_ranges(place.tensor.source.stored.shape):
            offset, n_bytes = place.place(start, stop - start)
            data = file.read(n_bytes, offset)
            found = chained(found, checksum(data))
    except OSError:  # unreadable data has to be converted again too
        return False
    return found == file.recorded[place.tensor.name]
