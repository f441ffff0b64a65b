"""How likely the tokens of a text are, each behind those before it."""

from __future__ import annotations

from collections.abc import Sequence

from glm_gguf.engine.delivery import Drawn
from glm_gguf.engine.logprobs import log_probabilities
from glm_gguf.llama.batch import Batch
from glm_gguf.llama.context import Context


class Scores:
    """The log probabilities of the tokens so far; nothing foretells the first, whose is None."""

    continued = True

    def __init__(self, tokens: Sequence[int], alternatives: int) -> None:
        self._tokens = tokens
        self._alternatives = alternatives
        self._scored = [Drawn(tokens[0])]

    def take(self, context: Context, batch: Batch) -> bool:
        """Compute a piece and score the tokens behind its own; False where abort() came between."""
        if not context.decode(batch):
            return False
        following = self._tokens[len(self._scored) : len(self._scored) + len(batch)]
        for row, token_id in enumerate(following):
            logprob, likeliest = log_probabilities(context.logits(row), token_id, self._alternatives)
            self._scored.append(Drawn(token_id, logprob=logprob, alternatives=likeliest))
        return True

    def forget(self) -> None:
        """Begin anew."""
        self._scored = self._scored[:1]

    def value(self) -> list[Drawn]:
        """Return all tokens as if they had been drawn."""
        return self._scored
