"""Deliveries: what the engine's thread hands to the reader of an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from glm_gguf.errors import GlmGgufError, as_engine_error

EndReason = Literal["stop", "length", "timeout"]


@dataclass(frozen=True, slots=True)
class Started:
    """The request was admitted; so many tokens of its prompt were in the KV cache."""

    cached_tokens: int
    at: float
    """Time of time.perf_counter() at the admission."""


@dataclass(frozen=True, slots=True)
class Prefilled:
    """So many tokens of the prompt are in the KV cache. Prompts that one batch completes have no such delivery.

    After a preemption the count may be lower than before.
    """

    tokens: int


@dataclass(frozen=True, slots=True)
class SampledToken:
    """The next token of the answer; `ends_turn` where it is a stop token."""

    token_id: int
    ends_turn: bool = False
    logprob: float | None = None
    """Natural logarithm of its probability, before temperature and cuts; None where the request asks for none."""
    alternatives: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens, each with its log probability."""
    at: float = 0.0
    """Time of time.perf_counter() at which it joined the answer; 0 for a token of a text that is scored."""


@dataclass(frozen=True, slots=True)
class DraftVerified:
    """A batch computed a draft of so many tokens; of the tokens before this delivery the last `accepted` were in it."""

    drafted: int
    accepted: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The answer is complete, or at its limit of tokens or time."""

    reason: EndReason


@dataclass(frozen=True, slots=True)
class AnswerFailed:
    """The answer ended by an error."""

    error: GlmGgufError

    @classmethod
    def by(cls, error: BaseException) -> AnswerFailed:
        """Wrap an error; one that is not a GlmGgufError becomes the cause of an EngineError."""
        return cls(as_engine_error(error))


Delivery = Started | Prefilled | SampledToken | DraftVerified | Ended | AnswerFailed
