"""What the engine's thread hands to whoever waits for an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from glm_gguf.errors import GlmGgufError, as_engine_error

EndReason = Literal["stop", "length", "timeout"]


@dataclass(frozen=True, slots=True)
class Started:
    """The request left the line; so many tokens of its prompt were in the KV cache."""

    cached_tokens: int


@dataclass(frozen=True, slots=True)
class SampledToken:
    """The next token of the answer; `ends_turn` where it is a stop token."""

    token_id: int
    ends_turn: bool = False
    logprob: float | None = None
    """Natural logarithm of its probability, before temperature and cuts; None where it was not asked for."""
    alternatives: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens with theirs."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The answer is complete, or was cut."""

    reason: EndReason


@dataclass(frozen=True, slots=True)
class AnswerFailed:
    """Nothing more comes."""

    error: GlmGgufError

    @classmethod
    def by(cls, error: BaseException) -> AnswerFailed:
        """Say that an error ended the answer; one that is none of ours is the cause of an EngineError."""
        return cls(as_engine_error(error))


Delivery = Started | SampledToken | Ended | AnswerFailed
