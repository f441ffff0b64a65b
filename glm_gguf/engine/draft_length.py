"""Drafting: tokens copied from earlier ones or written by a smaller model, as many as the batch curve says will pay.

A draft is verified in the batch that computes the tokens before it. Each of its rows is sampled as in plain decoding,
by the same sampler in the same state; the first token that differs from the draft ends it. So the answer is the one of
plain decoding: this is rejection sampling for a draft that is certain of its tokens.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Sequence
from typing import Final, Literal

from glm_gguf.engine.batch_curve import MOST_ROWS, BatchCurve
from glm_gguf.engine.batch_shares import STEP
from glm_gguf.engine.draft import BY_MODEL, NO_DRAFT, Draft
from glm_gguf.engine.draft_model import DraftModel
from glm_gguf.engine.running_sequence import RunningSequence
from glm_gguf.errors import EngineError

LOGGER = logging.getLogger(__name__)
MOST_DRAFT: Final = MOST_ROWS - 1
_FREE: Final = 1.02
"""Beside other answers a draft may make a batch slower by this factor at most."""


class Drafter:
    """Drafts for sequences in decode, and decides how much of each draft the next batch computes."""

    def __init__(self, length: int | Literal["auto"], model: DraftModel | None = None) -> None:
        self._most = MOST_DRAFT if length == "auto" else min(length, MOST_DRAFT)
        self._adapts = length == "auto"
        self._model = model
        self.curve = BatchCurve()
        self.drafted = 0
        """Tokens of all drafts that were computed."""
        self.accepted = 0

    def propose(
        self, running: Sequence[RunningSequence], fail: Callable[[RunningSequence, BaseException], None]
    ) -> None:
        """Draft for every sequence in decode; `fail` ends a sequence whose constraint raised.

        The model drafts for a sequence that runs alone, where its own text has nothing to copy.
        """
        for sequence in running if self._most else ():
            if sequence.pending <= STEP:
                try:
                    sequence.draft_from_text(self._most)
                    if not sequence.draft.tokens and len(running) == 1:
                        self._ask_model(sequence)
                except BaseException as error:  # a constraint may raise anything, SystemExit too
                    fail(sequence, error)

    def _ask_model(self, sequence: RunningSequence) -> None:
        """Have the model draft as many tokens as pay; a model that fails is asked no more."""
        if self._model is None:
            return
        chance = sequence.acceptance.probability(Draft([], BY_MODEL))
        gains = [chance**count for count in range(1, min(self._most, sequence.draft_room) + 1)]
        count = self.count_that_pays(gains, sequence.pending, alone=True, token_seconds=self._model.seconds)
        if not count:
            sequence.acceptance.pass_over(Draft([], BY_MODEL))
            return
        try:
            tokens = self._model.draft(sequence.tokens, count)
        except EngineError as error:
            LOGGER.warning("the draft model is used no more: %s", error)
            self._model = None
        else:
            sequence.take_draft(tokens, BY_MODEL)

    def drafts(self, sequences: Sequence[RunningSequence], given: Sequence[int], most_rows: int) -> list[Draft]:
        """Return how much of its draft each sequence gets in a batch that has `given` rows of each.

        The batch may have `most_rows`. Prefill has better use for them: there are no drafts beside it.
        """
        if not self._most or any(sequence.pending > STEP for sequence in sequences):
            return [NO_DRAFT] * len(sequences)
        whole = [
            sequence.draft if count == sequence.pending else NO_DRAFT
            for sequence, count in zip(sequences, given, strict=True)
        ]
        chances = [sequence.acceptance.probability(draft) for sequence, draft in zip(sequences, whole, strict=True)]
        order = _likeliest(whole, chances, min(most_rows, MOST_ROWS) - sum(given))
        count = self.count_that_pays([gain for _, gain in order], sum(given), alone=len(sequences) == 1)
        lengths = [0] * len(whole)
        for index, _ in order[:count]:
            lengths[index] += 1
        for sequence, draft, length in zip(sequences, whole, lengths, strict=True):
            if draft.tokens and not length:
                sequence.acceptance.pass_over(draft)
        return [Draft(draft.tokens[:length], draft.match) for draft, length in zip(whole, lengths, strict=True)]

    def note(self, sequence: RunningSequence, draft: Draft, accepted: int) -> None:
        """Take the result of a draft."""
        sequence.acceptance.note(draft, accepted)
        self.drafted += len(draft.tokens)
        self.accepted += accepted

    def count_that_pays(self, gains: Sequence[float], n_rows: int, *, alone: bool, token_seconds: float = 0.0) -> int:
        """Return how many of the draft tokens pay.

        Each adds `gains` tokens to the answers on average, and takes `token_seconds` to draft.
        """
        if not self._adapts:
            return len(gains)
        reach = min(len(gains), self.curve.reach - n_rows)
        if reach <= 0:
            return 0
        now = self.curve.seconds(n_rows)
        if not alone:
            return max(count for count in range(reach + 1) if self.curve.seconds(n_rows + count) <= now * _FREE)
        tokens, best, best_rate = 1.0, 0, 1 / now
        for count in range(1, reach + 1):
            tokens += gains[count - 1]
            rate = tokens / (self.curve.seconds(n_rows + count) + count * token_seconds)
            if rate > best_rate:
                best, best_rate = count, rate
        return best


def _likeliest(drafts: Sequence[Draft], chances: Sequence[float], most: int) -> list[tuple[int, float]]:
    """List the draft tokens that are likeliest to be right: index of the draft, and the probability.

    A token is right only where those before it are, so they come before it.
    """
    heap = [(-chance, index, 1) for index, chance in enumerate(chances) if drafts[index].tokens]
    heapq.heapify(heap)
    chosen: list[tuple[int, float]] = []
    while heap and len(chosen) < most:
        negative, index, count = heapq.heappop(heap)
        chosen.append((index, -negative))
        if count < len(drafts[index].tokens):
            heapq.heappush(heap, (negative * chances[index], index, count + 1))
    return chosen
