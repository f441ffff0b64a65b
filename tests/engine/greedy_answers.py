"""Greedy answers with the gap at each of their tokens, to record and to compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from glm_gguf import GLM, SamplingParams
from glm_gguf.chat.events import TokenLogprob

N_CTX = 1024
GREEDY = SamplingParams(temperature=0, max_tokens=40)


@dataclass(frozen=True)
class GreedyAnswer:
    """The text, and by how much the logit of each token was above that of the second best."""

    text: str
    gaps: tuple[float, ...]


def greedy_answer(glm: GLM, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]) -> GreedyAnswer:
    """Answer a prompt without a grammar."""
    prompt = glm.prompt_ids(messages, tools)
    events = list(glm.stream_completion(prompt, GREEDY, logprobs=2))
    tokens = [event for event in events if isinstance(event, TokenLogprob)]
    gaps = tuple(token.alternatives[0].logprob - token.alternatives[1].logprob for token in tokens)
    text = b"".join(token.token for token in tokens).decode("utf-8", "backslashreplace")
    return GreedyAnswer(text, gaps)
