"""A Constraint that has a fixed answer written: all sides of a benchmark write the same, whatever the weights are."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from glm_gguf.answers.grammar_constraint import GrammarConstraint
from glm_gguf.engine.constraint import mask_words


class ScriptedAnswer:
    """The answer is drawn under the grammar's mask, narrowed to the one token that it goes on with.

    What the grammar forces is not drawn, unless `jump` is off. The grammar alone cuts drafts.
    """

    def __init__(self, grammar: GrammarConstraint, target: list[int], n_vocab: int, *, jump: bool = True) -> None:
        self._grammar = grammar
        self._target = target
        self._mask = np.zeros(mask_words(n_vocab), np.uint32)
        self._jump = jump
        self.taken = self.drawn = 0
        self.mask_seconds: list[float] = []

    @property
    def finished(self) -> bool:
        return self.taken == len(self._target)

    def allowed(self) -> npt.NDArray[np.uint32]:
        start = time.perf_counter()
        self._grammar.allowed()
        self.mask_seconds.append(time.perf_counter() - start)
        self.drawn += 1
        self._mask[:] = 0
        token = self._target[self.taken]
        self._mask[token // 32] = np.uint32(1) << np.uint32(token % 32)
        return self._mask

    def forced(self) -> list[int]:
        tokens = self._grammar.forced() if self._jump and not self.finished else []
        assert tokens == self._target[self.taken : self.taken + len(tokens)]
        return tokens

    def fit_draft(self, tokens: list[int]) -> list[int]:
        return self._grammar.fit_draft(tokens)

    def accept(self, token: int) -> None:
        self._grammar.accept(token)
        self.taken += 1
