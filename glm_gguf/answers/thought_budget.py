"""Limit the length of a thought: after the budget its closing tag is forced, and the answer follows."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import TYPE_CHECKING

from glm_gguf.chat.detokenizer import TokenBytes
from glm_gguf.engine.constraint import Constraint, DraftFilter
from glm_gguf.special_tokens import CLOSE_THOUGHT

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

CLOSING_TEXT = f"\n{CLOSE_THOUGHT}\n"


class ThoughtBudget:
    """A Constraint for an answer that starts inside a thought. `inner` is the constraint of everything else."""

    def __init__(
        self, budget: int, closing: Sequence[int], token_bytes: TokenBytes, inner: Constraint | None = None
    ) -> None:
        self._left = budget
        self._closing = list(closing)
        self._token_bytes = token_bytes
        self._inner = inner
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._tail = ""
        self._thinking = True

    @property
    def finished(self) -> bool:
        """The inner constraint is finished."""
        return self._inner is not None and self._inner.finished

    def allowed(self) -> npt.NDArray[np.uint32] | None:
        """Return the mask of the inner constraint."""
        return None if self._inner is None else self._inner.allowed()

    def forced(self) -> list[int]:
        """Return the tokens that close the thought once its budget is spent, but never inside a character."""
        unfinished, _ = self._decoder.getstate()
        if self._thinking and self._left <= 0 and not unfinished:
            self._thinking = False
            return list(self._closing)
        return [] if self._inner is None else self._inner.forced()

    def fit_draft(self, tokens: list[int]) -> list[int]:
        """Return the first tokens of a draft that the inner constraint allows, within the budget of the thought."""
        counted = tokens[: max(self._left, 0)] if self._thinking else tokens
        return self._inner.fit_draft(counted) if isinstance(self._inner, DraftFilter) else counted

    def accept(self, token: int) -> None:
        """Count a token of the thought, and see whether it closes the thought."""
        if self._inner is not None:
            self._inner.accept(token)
        if self._thinking:
            self._left -= 1
            self._tail = (self._tail + self._decoder.decode(self._token_bytes(token)))[-2 * len(CLOSE_THOUGHT) :]
            self._thinking = CLOSE_THOUGHT not in self._tail
