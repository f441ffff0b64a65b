"""Log probabilities of tokens as OpenAI's APIs write them."""

from __future__ import annotations

from glm_gguf.chat.events import TokenLogprob
from glm_gguf.server.bodies.wire import WireResponse

LOWEST = -9999.0
"""OpenAI's value for a probability of 0, whose logarithm JSON cannot hold."""


class TopLogprob(WireResponse):
    """A possible token at one position."""

    token: str
    logprob: float
    bytes: list[int]


class ContentLogprob(TopLogprob):
    """A token of the visible text."""

    top_logprobs: list[TopLogprob]


def content_logprob(token: TokenLogprob) -> ContentLogprob:
    """Write a token and the most likely ones in its place."""
    likeliest = [_top_logprob(other) for other in token.alternatives]
    one = _top_logprob(token)
    return ContentLogprob(token=one.token, logprob=one.logprob, bytes=one.bytes, top_logprobs=likeliest)


def _top_logprob(token: TokenLogprob) -> TopLogprob:
    text = token.token.decode(errors="replace")
    return TopLogprob(token=text, logprob=max(token.logprob, LOWEST), bytes=list(token.token))
