"""The tokens of each sequence in the next batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from glm_gguf.engine.delivery import SampledToken
from glm_gguf.engine.draft import Draft
from glm_gguf.engine.kv_cache import Prefix
from glm_gguf.engine.masking import Mask
from glm_gguf.engine.running_sequence import RunningSequence
from glm_gguf.llama.context import Context
from glm_gguf.llama.engine_options import Scales


@dataclass(frozen=True, slots=True)
class BatchSlice:
    """Tokens of one sequence in the next batch; `final` where the next token can be sampled after them.

    Behind them come the tokens of a draft, perhaps none.
    """

    sequence: RunningSequence
    prefix: Prefix
    tokens: list[int]
    row: int
    """The row of its last token in the batch, before the draft."""
    final: bool
    draft: Draft

    def sampled(self, context: Context, mask: Future[Mask | None] | None) -> Iterator[SampledToken]:
        """Yield a sampled token, and those that its constraint forces after it; go on while the draft is right.

        The caller appends each token to the sequence before it takes the next.
        """
        sequence, draft = self.sequence, self.draft.tokens
        length = len(sequence.tokens)
        yield sequence.sample(context, self.row, None if mask is None else mask.result())
        yield from sequence.forced()
        while 0 < (new := len(sequence.tokens) - length) <= len(draft) and sequence.tokens[length:] == draft[:new]:
            yield sequence.sample(context, self.row + new, sequence.mask())
            yield from sequence.forced()


def slices(sequences: Iterable[RunningSequence], given: Iterable[int], drafts: Iterable[Draft]) -> Iterator[BatchSlice]:
    """Take as many pending tokens of each sequence as it was `given`, and its draft."""
    row = -1
    for sequence, count, draft in zip(sequences, given, drafts, strict=True):
        row += count
        if count:
            prefix = sequence.pinned
            start = len(prefix.tokens)
            tokens = sequence.tokens[start : start + count]
            yield BatchSlice(sequence, prefix, tokens, row, count == sequence.pending, draft)
            row += len(draft.tokens)


def next_mix(running: Sequence[RunningSequence], last: Scales | None) -> list[RunningSequence]:
    """Choose the sequences of the next batch: it has one mix of adapters in llama.cpp, so the mixes take turns.

    `last` are the scales of the mix in the last batch.
    """
    mixes = list(dict.fromkeys(sequence.scales for sequence in running))
    index = mixes.index(last) + 1 if last in mixes else 0
    return [sequence for sequence in running if sequence.scales == mixes[index % len(mixes)]]
