"""What the next batch holds of each sequence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from glm_gguf.engine.kv_cache import Prefix
from glm_gguf.engine.running_sequence import Sequence


@dataclass(frozen=True, slots=True)
class Part:
    """Tokens of one sequence in the next batch; `final` where a token can be drawn behind them."""

    sequence: Sequence
    prefix: Prefix
    tokens: list[int]
    row: int
    """Of its last token in the batch."""
    final: bool


def cut(sequences: Iterable[Sequence], given: Iterable[int]) -> Iterator[Part]:
    """Take as many tokens of each sequence as it was `given`."""
    row = -1
    for sequence, count in zip(sequences, given, strict=True):
        row += count
        if count:
            prefix = sequence.held
            start = len(prefix.tokens)
            yield Part(sequence, prefix, sequence.tokens[start : start + count], row, count == sequence.pending)
