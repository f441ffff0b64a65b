"""A draft of one sequence, and how many tokens of its drafts were right so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from glm_gguf.engine.ngram_lookup import LENGTH

_MATCH_CLASSES: Final = (LENGTH, 6, 16)
"""Shortest match of each class; each has its own share of right tokens."""
BY_MODEL: Final = 0
"""The match of a draft by a model, a class of its own."""
_KEPT: Final = 0.9
"""What a draft leaves of the weight of those before it."""
_KEPT_UNUSED: Final = 0.98


@dataclass(frozen=True, slots=True)
class Draft:
    """Tokens that may come next.

    `match` counts the tokens before them that were equal where they were copied from. BY_MODEL: a model drafted.
    """

    tokens: list[int]
    match: int


NO_DRAFT: Final = Draft([], LENGTH)


class Acceptance:
    """How many tokens of a sequence's drafts were right, by the length of the match. It starts with one of two."""

    def __init__(self) -> None:
        self._right = [1.0] * (len(_MATCH_CLASSES) + 1)
        self._tried = [2.0] * (len(_MATCH_CLASSES) + 1)

    def probability(self, draft: Draft) -> float:
        """Estimate the probability that the next token of a draft is right."""
        index = _match_class(draft)
        return self._right[index] / self._tried[index]

    def note(self, draft: Draft, accepted: int) -> None:
        """Take the result of a draft."""
        index = _match_class(draft)
        self._fade(index, _KEPT)
        self._right[index] += accepted
        self._tried[index] += accepted + (accepted < len(draft.tokens))

    def watch(self, draft: Draft, *, right: bool) -> None:
        """Note whether the first token of a draft would have been right that no batch had."""
        index = _match_class(draft)
        self._fade(index, _KEPT_UNUSED)
        self._right[index] += right
        self._tried[index] += 1

    def pass_over(self, draft: Draft) -> None:
        """Note that a draft did not pay, and is not known: in time one like it is tried again."""
        self._fade(_match_class(draft), _KEPT_UNUSED)

    def _fade(self, index: int, kept: float) -> None:
        self._right[index] = 1 + (self._right[index] - 1) * kept
        self._tried[index] = 2 + (self._tried[index] - 2) * kept


def _match_class(draft: Draft) -> int:
    return sum(draft.match >= shortest for shortest in _MATCH_CLASSES) - 1  # -1, the last, for BY_MODEL
