"""Ollama's `options`: sampling, and the size of the context."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from glm_gguf.llama.bounds import MOST_INTEGER
from glm_gguf.server.bodies.sampling_fields import (
    Back,
    LeastProbability,
    Probability,
    RepeatPenalty,
    Temperature,
)
from glm_gguf.server.bodies.wire import Cut, Whole, WireRequest, as_integer


def _unlimited(value: Any) -> Any:
    """Return the largest number for 0, -1 and -2, which set no limit in Ollama."""
    value = as_integer(value)
    return MOST_INTEGER if value in (0, -1, -2) and not isinstance(value, bool) else value


class OllamaOptions(WireRequest):
    """Ollama's options with an effect here; the names are those of `/v1/chat/completions` but for two."""

    temperature: Temperature | None = None
    """0 always takes the most likely token."""
    top_k: Cut | None = None
    """Only the k most likely tokens; 0 and -1 are all."""
    top_p: Probability | None = None
    """Only the most likely tokens that together reach this probability."""
    min_p: LeastProbability | None = None
    """Only tokens with at least this fraction of the highest probability."""
    repeat_penalty: RepeatPenalty | None = None
    """Divides the logits of tokens that the answer already holds; 1 and 0 turn it off."""
    repeat_last_n: Back | None = None
    """Window of the penalties in tokens of the answer; -1 is all."""
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    """Subtracted from a token's logit for every occurrence in the answer."""
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    """Subtracted from a token's logit once if the answer holds it."""
    seed: Whole | None = None
    """-1 chooses a random one."""
    stop: str | list[str | None] | None = None
    """One text or several; the answer ends before the first occurrence."""
    num_predict: Annotated[int, Field(ge=1, le=MOST_INTEGER), BeforeValidator(_unlimited)] | None = None
    """Maximum number of tokens of an answer; 0, -1 and -2 are no limit."""
    num_ctx: Whole | None = None
    """The context has a size of its own; a larger number than that is ignored, and the header names it."""

    def unmet(self, n_ctx: int) -> list[str]:
        """Return the options that a context of so many tokens does not meet."""
        return ["options.num_ctx"] if self.num_ctx is not None and self.num_ctx > n_ctx else []
