"""What an interrupted run left in the partial files, held against its checksums."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Executor

from glm_gguf.convert.writing.checksum import chained, checksum
from glm_gguf.convert.writing.partial_file import Part
from glm_gguf.convert.writing.rows import extents
from glm_gguf.convert.writing.work import Placement, ShardWork

_log = logging.getLogger(__name__)


def still_held(parts: Sequence[Part], work: Sequence[ShardWork], pool: Executor) -> list[set[str]]:
    """The names that each file's journal records and whose bytes are those that were written.

    Bytes are read again: disks lie, files are copied with holes, and a journal may name what was never written.
    """
    places = [place for shard in work for job in shard.jobs for place in job.placements]
    claimed = [place for place in places if place.tensor.name in parts[place.file].recorded]
    held = [set(part.recorded) for part in parts]
    right = pool.map(lambda place: _is_right(parts[place.file], place), claimed)
    wrong = [place for place, as_written in zip(claimed, right, strict=True) if not as_written]
    for place in wrong:
        held[place.file].discard(place.tensor.name)
    if wrong:
        names = ", ".join(sorted({parts[place.file].partial.name for place in wrong}))
        _log.warning("%s: %d tensors are not as they were written; converting them again", names, len(wrong))
    return held


def _is_right(part: Part, place: Placement) -> bool:
    found = 0
    try:
        for start, stop in extents(place.tensor.shape):
            data = part.read((stop - start) * place.row_bytes, place.offset + start * place.row_bytes)
            found = chained(found, checksum(data))
    except OSError:  # a disk that does not give it back has not kept it
        return False
    return found == part.recorded[place.tensor.name]
