"""A smaller model that drafts: it has a context of its own, and follows the sequences that it drafts for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from glm_gguf.engine.token_trie import common_length
from glm_gguf.llama.batch import Batch
from glm_gguf.llama.context import Context

_SHARE_OF_NEW: Final = 0.25


@dataclass(slots=True)
class _Slot:
    """A sequence of the context, and the tokens in its cells."""

    sequence: int
    tokens: list[int] = field(default_factory=list)
    last_use: int = 0


class DraftModel:
    """Takes the likeliest token after each. Only the engine's thread calls it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._batch = Batch(context.plan.batches.alone)
        self._n_cells = context.plan.size.n_cells
        self._slots = [_Slot(sequence) for sequence in range(context.plan.size.n_running)]
        self._uses = 0
        self.seconds = 0.0
        """Seconds of a drafted token, a moving mean; 0 before the first."""

    def draft(self, tokens: Sequence[int], count: int) -> list[int]:
        """Return `count` tokens that may follow; none where the context is too short.

        A long prompt takes one batch a call until it is computed, and is drafted for after that: nobody waits for all
        of it. EngineError where llama.cpp fails.
        """
        slot, known = self._nearest(tokens)
        if not self._make_room(slot, len(tokens) + count):
            return []
        missing = tokens[known:]
        self._compute(slot, missing[: self._batch.capacity])
        if len(missing) > self._batch.capacity:
            return []
        drafted: list[int] = []
        begun = time.monotonic()
        while True:
            drafted.append(int(self._context.logits(len(self._batch) - 1).argmax()))
            if len(drafted) == count:
                break
            self._compute(slot, drafted[-1:])
        if count > 1:
            self._measure((time.monotonic() - begun) / (count - 1))
        return drafted

    def _nearest(self, tokens: Sequence[int]) -> tuple[_Slot, int]:
        """Find the slot that shares most tokens, or else the least recently used; cut it to what it shares."""
        earlier = list(tokens[:-1])  # the last is computed again: its logits are needed
        shared = [(common_length(slot.tokens, earlier), slot) for slot in self._slots]
        known, slot = max(shared, key=lambda pair: (pair[0], -pair[1].last_use))
        self._uses += 1
        slot.last_use = self._uses
        self._truncate(slot, known)
        return slot, known

    def _make_room(self, slot: _Slot, length: int) -> bool:
        """Empty other slots, the least recently used first, until a sequence of this length has cells."""
        if length > self._n_cells:
            return False
        others = sorted((other for other in self._slots if other is not slot), key=lambda other: other.last_use)
        for other in others:
            if length + sum(len(held.tokens) for held in others) <= self._n_cells:
                break
            self._truncate(other, 0)
        return True

    def _compute(self, slot: _Slot, tokens: Sequence[int]) -> None:
        self._batch.clear()
        self._batch.add(slot.sequence, len(slot.tokens), tokens, outputs=1)
        self._context.decode(self._batch)
        slot.tokens += tokens

    def _truncate(self, slot: _Slot, length: int) -> None:
        if length < len(slot.tokens):
            self._context.truncate(slot.sequence, length)
            del slot.tokens[length:]

    def _measure(self, seconds: float) -> None:
        self.seconds = self.seconds + _SHARE_OF_NEW * (seconds - self.seconds) if self.seconds else seconds
