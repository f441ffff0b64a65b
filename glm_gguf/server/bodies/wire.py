"""What the schemas of all APIs share: strict types, numbers, bodies, counts and ids."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from glm_gguf.chat.events import PrefillProgress, Usage
from glm_gguf.llama.bounds import MOST_INTEGER, Bounds


def as_integer(value: Any) -> Any:
    """Return 5.0 as 5, since JSON has one kind of number; other values stay."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


T = TypeVar("T")
Many = Annotated[list[T], Field(fail_fast=True)]
"""A long list: validation stops at the first invalid entry."""
Count = Annotated[int, Field(ge=1, le=MOST_INTEGER), BeforeValidator(as_integer)]


def _unlimited(value: Any) -> Any:
    """Return the largest number for -1, which asks for no limit."""
    value = as_integer(value)
    return MOST_INTEGER if value == -1 else value


def _uncut(value: Any) -> Any:
    """Return 0, which cuts nothing, for -1."""
    value = as_integer(value)
    return 0 if value == -1 else value


def within(bounds: Bounds, *, minimum: float | None = None) -> Any:
    """Return a field's constraint from bounds; `minimum` replaces the lower bound."""
    return Field(ge=bounds.minimum if minimum is None else minimum, le=bounds.maximum)


Whole = Annotated[int, BeforeValidator(as_integer)]
Length = Annotated[int, Field(ge=1, le=MOST_INTEGER), BeforeValidator(_unlimited)]
"""Tokens; -1 is no limit."""
LengthOrNone = Annotated[int, Field(ge=0, le=MOST_INTEGER), BeforeValidator(_unlimited)]
"""Tokens, 0 too; -1 is no limit."""
Cut = Annotated[int, Field(ge=0, le=MOST_INTEGER), BeforeValidator(_uncut)]
"""Number of most likely tokens; 0 and -1 are all."""


class WireRequest(BaseModel):
    """A body: wrong types are refused, unknown fields are ignored, null equals a missing field."""

    model_config = ConfigDict(strict=True, extra="ignore", use_attribute_docstrings=True)


class WireResponse(BaseModel):
    """A response, or a chunk of a stream; unset fields are left out."""

    def as_json(self) -> str:
        """Write it as JSON."""
        return self.model_dump_json(exclude_unset=True)

    def response(self) -> Response:
        """Write it as a response."""
        return Response(self.as_json(), media_type="application/json")


class StreamOptions(WireRequest):
    """Options of a stream."""

    include_usage: bool | None = None
    """The last event has the token counts."""
    continuous_usage_stats: Literal[False] | None = None
    """vLLM's: only false; the counts come once."""


class CachedTokens(WireResponse):
    """Of the prompt."""

    cached_tokens: int


class AnswerTokens(WireResponse):
    """Of the answer. OpenAI's "prediction" is a draft."""

    reasoning_tokens: int
    accepted_prediction_tokens: int
    rejected_prediction_tokens: int


class WireUsage(WireResponse):
    """OpenAI's counts: the prompt once, all answers together."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens
    completion_tokens_details: AnswerTokens


def wire_usage(prompts: Sequence[Sequence[Usage]]) -> WireUsage:
    """Sum the counts of all answers; cached tokens are those of the first answer to each prompt."""
    prompt = sum(usages[0].prompt_tokens for usages in prompts)
    answers = [usage for usages in prompts for usage in usages]
    completion = sum(usage.completion_tokens for usage in answers)
    details = AnswerTokens(
        reasoning_tokens=sum(usage.reasoning_tokens for usage in answers),
        accepted_prediction_tokens=sum(usage.accepted_tokens for usage in answers),
        rejected_prediction_tokens=sum(usage.drafted_tokens - usage.accepted_tokens for usage in answers),
    )
    return WireUsage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        prompt_tokens_details=CachedTokens(cached_tokens=sum(usages[0].cached_tokens for usages in prompts)),
        completion_tokens_details=details,
    )


class PromptProgress(WireResponse):
    """llama-server's: how far a prompt is computed, in tokens; `cache` of them were found in the KV cache."""

    total: int
    cache: int
    processed: int
    time_ms: int


def prompt_progress(event: PrefillProgress, since: float) -> PromptProgress:
    """Write the progress of a prompt that began at `since`, a time of time.monotonic()."""
    time_ms = int(1000 * (time.monotonic() - since))
    return PromptProgress(
        total=event.total_tokens, cache=event.cached_tokens, processed=event.done_tokens, time_ms=time_ms
    )


def new_id(prefix: str) -> str:
    """Return a new id in OpenAI's form."""
    return f"{prefix}{secrets.token_hex(12)}"
