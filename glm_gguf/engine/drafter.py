"""Drafting: tokens copied from earlier ones, or written by a smaller model where there is nothing to copy.

A draft is verified in the batch that computes the tokens before it. Each of its rows is sampled as in plain decoding,
by the same sampler in the same state; the first token that differs from the draft ends it. So the answer is the one of
plain decoding: this is rejection sampling for a draft that is certain of its tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Literal

from glm_gguf.engine.batch_curve import MOST_ROWS
from glm_gguf.engine.batch_shares import STEP
from glm_gguf.engine.draft import BY_MODEL, NO_DRAFT, Draft
from glm_gguf.engine.draft_length import DraftLength, likeliest
from glm_gguf.engine.draft_model import DraftModel
from glm_gguf.engine.running_sequence import RunningSequence
from glm_gguf.errors import EngineError

LOGGER = logging.getLogger(__name__)


class Drafter:
    """Drafts for sequences in decode, and gives each its share of the next batch."""

    def __init__(self, length: int | Literal["auto"], model: DraftModel | None = None) -> None:
        self._length = DraftLength(length)
        self._model = model
        self.drafted = 0
        """Tokens of all drafts that were computed."""
        self.accepted = 0

    def note_batch(self, n_rows: int, seconds: float) -> None:
        """Take how long a batch of so many rows took."""
        self._length.curve.note(n_rows, seconds)

    def propose(
        self, running: Sequence[RunningSequence], fail: Callable[[RunningSequence, BaseException], None]
    ) -> None:
        """Draft for every sequence in decode; `fail` ends a sequence whose constraint raised.

        The model drafts for a sequence that runs alone, where its own text has nothing to copy.
        """
        for sequence in running if self._length.most else ():
            if sequence.pending <= STEP:
                try:
                    sequence.draft_from_text(self._length.most)
                    if not sequence.draft.tokens and len(running) == 1:
                        self._ask_model(sequence)
                except BaseException as error:  # a constraint may raise anything, SystemExit too
                    fail(sequence, error)

    def _ask_model(self, sequence: RunningSequence) -> None:
        """Have the model draft as many tokens as pay; a model that fails is asked no more."""
        if self._model is None:
            return
        chance = sequence.acceptance.probability(Draft([], BY_MODEL))
        gains = [chance**count for count in range(1, min(self._length.most, sequence.draft_room) + 1)]
        count = self._length.count_that_pays(gains, sequence.pending, alone=True, token_seconds=self._model.seconds)
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
        if not self._length.most or any(sequence.pending > STEP for sequence in sequences):
            return [NO_DRAFT] * len(sequences)
        whole = [
            sequence.draft if count == sequence.pending else NO_DRAFT
            for sequence, count in zip(sequences, given, strict=True)
        ]
        chances = [sequence.acceptance.probability(draft) for sequence, draft in zip(sequences, whole, strict=True)]
        order = likeliest(whole, chances, min(most_rows, MOST_ROWS) - sum(given))
        count = self._length.count_that_pays([gain for _, gain in order], sum(given), alone=len(sequences) == 1)
        lengths = [0] * len(whole)
        for index, _ in order[:count]:
            lengths[index] += 1
        return [Draft(draft.tokens[:length], draft.match) for draft, length in zip(whole, lengths, strict=True)]

    def watch(self, sequence: RunningSequence, token: int) -> None:
        """Take the token that came where a batch had nothing of a sequence's draft."""
        if sequence.draft.tokens:
            sequence.acceptance.watch(sequence.draft, right=sequence.draft.tokens[0] == token)

    def note(self, sequence: RunningSequence, draft: Draft, accepted: int) -> None:
        """Take the result of a draft."""
        sequence.acceptance.note(draft, accepted)
        self.drafted += len(draft.tokens)
        self.accepted += accepted
