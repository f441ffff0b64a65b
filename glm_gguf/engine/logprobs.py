"""Log probabilities: of a sampled token, and of every token of a text behind those before it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from glm_gguf.engine.delivery import SampledToken
from glm_gguf.llama.batch import Batch
from glm_gguf.llama.context import Context


def log_probabilities(
    logits: npt.NDArray[np.float32], token_id: int, alternatives: int
) -> tuple[float, tuple[tuple[int, float], ...]]:
    """Return the log probability of a token, and the likeliest tokens with theirs, likeliest first."""
    highest = logits.max()
    total = float(highest) + float(np.log(np.exp(logits - highest).sum(dtype=np.float64)))
    if not alternatives:
        return float(logits[token_id]) - total, ()
    likeliest = np.argpartition(logits, -alternatives)[-alternatives:]
    likeliest = likeliest[np.argsort(-logits[likeliest], kind="stable")]
    return float(logits[token_id]) - total, tuple((int(index), float(logits[index]) - total) for index in likeliest)


class PromptLogprobs:
    """The log probabilities of the tokens so far; nothing foretells the first, whose is None."""

    continued = True

    def __init__(self, tokens: Sequence[int], alternatives: int) -> None:
        self._tokens = tokens
        self._alternatives = alternatives
        self._scored = [SampledToken(tokens[0])]

    def take(self, context: Context, batch: Batch) -> bool:
        """Compute a piece and score the tokens behind its own; False where abort() came between."""
        if not context.decode(batch):
            return False
        following = self._tokens[len(self._scored) : len(self._scored) + len(batch)]
        for row, token_id in enumerate(following):
            logprob, likeliest = log_probabilities(context.logits(row), token_id, self._alternatives)
            self._scored.append(SampledToken(token_id, logprob=logprob, alternatives=likeliest))
        return True

    def forget(self) -> None:
        """Begin anew."""
        self._scored = self._scored[:1]

    def value(self) -> list[SampledToken]:
        """Return all tokens as if they had been drawn."""
        return self._scored
