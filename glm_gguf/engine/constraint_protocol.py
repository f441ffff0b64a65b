"""What steers an answer from outside: a mask over the next token, and tokens that must come next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

WORD_BITS = 32


class Constraint(Protocol):
    """The rules of one answer. The engine asks for the next token and tells what it became, one call at a time:

    forced() once; where it names tokens they are appended without sampling, each with accept(), and forced() is asked
    again; then allowed(), on another thread while the model computes, the draw, accept(token). A GlmGgufError raised
    here ends this answer alone.
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
