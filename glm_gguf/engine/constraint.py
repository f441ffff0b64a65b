"""Constraints of an answer: a mask over the next token, and forced tokens."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from glm_gguf.errors import EngineError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

WORD_BITS = 32


class Constraint(Protocol):
    """The rules of one answer. The engine makes one call at a time, in this order for each token:

    1. forced(). The engine appends the tokens it returns without sampling, each with accept(), and calls it again.
    2. allowed(), on another thread while the model computes.
    3. accept(token), for the token that the engine sampled.

    An error raised here ends this answer alone: a GlmGgufError as it is, any other as the `__cause__` of an
    EngineError. All answers wait while a method runs. A method may close the model, but not ask it.
    """

    @property
    def finished(self) -> bool:
        """The answer is complete: the engine samples no more, as after a stop token."""

    def allowed(self) -> npt.NDArray[np.uint32] | None:
        """Return the tokens that may come next, one bit each; None allows all.

        Shape [(n_vocab + 31) // 32]; token t is bit t % 32 of word t // 32, the lowest bit first. It must allow at
        least one token. The array may be the constraint's own and is read before the next call.
        """

    def forced(self) -> list[int]:
        """Return the tokens that must come next, or none; one batch computes them all (jump-forward)."""

    def accept(self, token: int) -> None:
        """Take the token that came next, the stop token and forced ones included."""


@runtime_checkable
class DraftFilter(Protocol):
    """What a Constraint may have besides: it tells which tokens of a draft could follow, so that no row is wasted."""

    def fit_draft(self, tokens: list[int]) -> list[int]:
        """Return the first of these tokens that may come next, one after another. The state stays as it is.

        They may be spelled as this answer needs it: a text that is copied into JSON has `\\n` for a newline.
        """


def mask_words(n_vocab: int) -> int:
    """Count the words of a mask over a vocabulary."""
    return (n_vocab + WORD_BITS - 1) // WORD_BITS


def forced_ids(constraint: Constraint, n_vocab: int) -> list[int]:
    """Call forced(); EngineError where it returns anything but a list of tokens of the vocabulary."""
    return _token_ids(constraint.forced(), "forced()", n_vocab)


def fitted_draft(constraint: Constraint | None, tokens: list[int], n_vocab: int) -> list[int]:
    """Call fit_draft() where the constraint has it; EngineError as by `forced_ids`."""
    if not tokens or not isinstance(constraint, DraftFilter):
        return tokens
    return _token_ids(constraint.fit_draft(tokens), "fit_draft()", n_vocab)[: len(tokens)]


def _token_ids(named: object, method: str, n_vocab: int) -> list[int]:
    if isinstance(named, str | bytes) or not isinstance(named, Sequence):
        what = f"the constraint's {method} returned {type(named).__name__}"
        raise EngineError(what, fix="return a list of token ids")
    ids = [index(token) for token in named]
    if ids and not 0 <= min(ids) <= max(ids) < n_vocab:
        raise EngineError(f"the constraint's {method} names a token that is not in the vocabulary of {n_vocab}")
    return ids
