"""Log probabilities: of a sampled token, and of every token of a text after those before it."""

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
    """Return the natural log probability of a token by logits [n_vocab], and the likeliest tokens with theirs."""
    highest = logits.max()
    total = float(highest) + float(np.log(np.exp(logits - highest).sum(dtype=np.float64)))
    if not alternatives:
        return float(logits[token_id]) - total, ()
    likeliest = np.argpartition(logits, -alternatives)[-alternatives:]
    likeliest = likeliest[np.argsort(-logits[likeliest], kind="stable")]
    return float(logits[token_id]) - total, tuple((int(index), float(logits[index]) - total) for index in likeliest)


class PromptLogprobs:
    """The tokens of a text with their log probabilities so far; the first has none, for no token precedes it."""

    continued = True

    def __init__(self, tokens: Sequence[int], alternatives: int) -> None:
        self._tokens = tokens
        self._alternatives = alternatives
        self._scored = [SampledToken(tokens[0])]

    def take(self, context: Context, batch: Batch) -> bool:
        """Compute a piece and score the token after each of its own; False where abort() ended the batch."""
        if not context.decode(batch):
            return False
        following = self._tokens[len(self._scored) : len(self._scored) + len(batch)]
        for row, token_id in enumerate(following):
            logprob, likeliest = log_probabilities(context.logits(row), token_id, self._alternatives)
            self._scored.append(SampledToken(token_id, logprob=logprob, alternatives=likeliest))
        return True

    def forget(self) -> None:
        """Start over."""
        self._scored = self._scored[:1]

    def value(self) -> list[SampledToken]:
        """Return all tokens in the form of sampled ones."""
        return self._scored
