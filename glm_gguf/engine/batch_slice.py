"""The tokens of each sequence in the next batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from glm_gguf.engine.kv_cache import Prefix
from glm_gguf.engine.running_sequence import RunningSequence


@dataclass(frozen=True, slots=True)
class BatchSlice:
    """Tokens of one sequence in the next batch; `final` where the next token can be sampled after them."""

    sequence: RunningSequence
    prefix: Prefix
    tokens: list[int]
    row: int
    """The row of its last token in the batch."""
    final: bool


def slices(sequences: Iterable[RunningSequence], given: Iterable[int]) -> Iterator[BatchSlice]:
    """Take as many pending tokens of each sequence as it was `given`."""
    row = -1
    for sequence, count in zip(sequences, given, strict=True):
        row += count
        if count:
            prefix = sequence.pinned
            start = len(prefix.tokens)
            yield BatchSlice(sequence, prefix, sequence.tokens[start : start + count], row, count == sequence.pending)
