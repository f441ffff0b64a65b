"""What steers an answer from outside: a mask over the next token, and tokens that must come next."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import TYPE_CHECKING, Protocol

from glm_gguf.errors import EngineError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

WORD_BITS = 32


class Constraint(Protocol):
    """The rules of one answer. The engine asks for the next token and tells what it became, one call at a time:

    forced() once; where it names tokens they are appended without sampling, each with accept(), and forced() is asked
    again; then allowed(), on another thread while the model computes, the draw, accept(token). Whatever is raised here
    ends this answer alone: a GlmGgufError as it is, anything else as the `__cause__` of an EngineError. All answers
    wait for what is done here. It may close the model, which does not wait for itself then, but not ask it.
    """

    @property
    def finished(self) -> bool:
        """The answer is complete: nothing more is drawn, as behind a stop token."""

    def allowed(self) -> npt.NDArray[np.uint32] | None:
        """Return the tokens that may come next, one bit each; None where everything may.

        Shape [(n_vocab + 31) // 32]; token t is bit t % 32 of word t // 32, the lowest bit first. It must allow one
        token at least. The array may be the constraint's own and is read before the next call.
        """

    def forced(self) -> list[int]:
        """Return the tokens that must come next, possibly none; they are computed in one batch (jump-forward)."""

    def accept(self, token: int) -> None:
        """Take the token that came next, the stop token and forced ones included."""


def mask_words(n_vocab: int) -> int:
    """Count the words of a mask over a vocabulary."""
    return (n_vocab + WORD_BITS - 1) // WORD_BITS


def forced_ids(constraint: Constraint, n_vocab: int) -> list[int]:
    """Ask which tokens must come next; EngineError for what is no list of tokens of the vocabulary."""
    named = constraint.forced()
    if isinstance(named, str | bytes) or not isinstance(named, Sequence):
        raise EngineError(
            f"the constraint's forced() returned {type(named).__name__}", fix="return a list of token ids"
        )
    ids = [index(token) for token in named]
    if ids and not 0 <= min(ids) <= max(ids) < n_vocab:
        raise EngineError(f"the constraint forces a token that is not in the vocabulary of {n_vocab}")
    return ids
