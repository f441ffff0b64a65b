"""Ollama's replies, whole or as lines of a stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter
from typing import Annotated, Any, Literal

from pydantic import Field

from glm_gguf.chat.events import Finish
from glm_gguf.server.bodies.wire import WireResponse
from glm_gguf.server.streams.logprobs import ContentLogprob

DoneReason = Literal["stop", "length", "load", "unload"]


class ReplyFunction(WireResponse):
    """A function's name, its arguments as an object, and the place of the call among all of the answer."""

    index: int
    name: str
    arguments: dict[str, Any]


class ReplyCall(WireResponse):
    """One call."""

    id: str
    function: ReplyFunction


class ReplyMessage(WireResponse):
    """The model's message, or its next piece."""

    role: Literal["assistant"]
    content: str
    thinking: str | None = None
    tool_calls: list[ReplyCall] | None = None


class Reply(WireResponse):
    """What replies of chat and generate share; times are in nanoseconds, and come with the end."""

    model: str
    created_at: str
    done: bool
    done_reason: DoneReason | None = None
    total_duration: int | None = None
    """From the request's arrival."""
    load_duration: int | None = None
    """For which the request waited for the model."""
    prompt_eval_count: int | None = None
    """Tokens of the prompt, cached ones too."""
    prompt_eval_duration: int | None = None
    """From the admission of the request to the first token."""
    eval_count: int | None = None
    """Tokens of the answer."""
    eval_duration: int | None = None
    """From the first token to the last."""
    logprobs: list[ContentLogprob] | None = None


class ChatReply(Reply):
    """A reply of `/api/chat`, or a line of its stream."""

    message: ReplyMessage


class GenerateReply(Reply):
    """A reply of `/api/generate`, or a line of its stream."""

    text: Annotated[str, Field(alias="response")]
    thinking: str | None = None
    tool_calls: list[ReplyCall] | None = None

    def as_json(self) -> str:
        """Write it as JSON, with the text under its name there."""
        return self.model_dump_json(exclude_unset=True, by_alias=True)


@dataclass(frozen=True, slots=True)
class ReplyPart:
    """A piece of a reply, or all of it."""

    content: str = ""
    thinking: str = ""
    calls: tuple[ReplyCall, ...] = ()
    logprobs: tuple[ContentLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplyForm:
    """The form of a reply, and the times of its request, of time.perf_counter()."""

    chat: bool
    """Of `/api/chat`; else of `/api/generate`."""
    model: str
    arrived: float
    loaded: float
    """The model was there."""

    def part(self, part: ReplyPart) -> ChatReply | GenerateReply:
        """Write a piece."""
        return self._reply(part, {"done": False})

    def end(self, part: ReplyPart, finish: Finish) -> ChatReply | GenerateReply:
        """Write the end, with its last piece or all of them."""
        seconds = (perf_counter() - self.arrived, self.loaded - self.arrived)
        total, load = map(nanoseconds, seconds)
        figures = {
            "done": True,
            "done_reason": done_reason(finish),
            "total_duration": total,
            "load_duration": load,
            "prompt_eval_count": finish.usage.prompt_tokens,
            "prompt_eval_duration": nanoseconds(finish.timings.prefill),
            "eval_count": finish.usage.completion_tokens,
            "eval_duration": nanoseconds(finish.timings.decode),
        }
        return self._reply(part, figures)

    def nothing(self, reason: DoneReason) -> ChatReply | GenerateReply:
        """Write the reply to a request that only loads or frees the model."""
        return self._reply(ReplyPart(), {"done": True, "done_reason": reason})

    def _reply(self, part: ReplyPart, figures: dict[str, Any]) -> ChatReply | GenerateReply:
        head = {"model": self.model, "created_at": timestamp(datetime.now(UTC)), **figures}
        if part.logprobs:
            head["logprobs"] = list(part.logprobs)
        more = {"thinking": part.thinking, "tool_calls": list(part.calls)}
        given: dict[str, Any] = {name: value for name, value in more.items() if value}
        if self.chat:
            return ChatReply(**head, message=ReplyMessage(role="assistant", content=part.content, **given))
        return GenerateReply(**{**head, "response": part.content, **given})


def joined(parts: Sequence[ReplyPart]) -> ReplyPart:
    """Join pieces."""
    return ReplyPart(
        "".join(part.content for part in parts),
        "".join(part.thinking for part in parts),
        tuple(call for part in parts for call in part.calls),
        tuple(token for part in parts for token in part.logprobs),
    )


def done_reason(finish: Finish) -> DoneReason:
    """Return Ollama's reason for the end; calls end an answer as text does, and a deadline counts as the length."""
    return "length" if finish.reason in ("length", "timeout") else "stop"


def timestamp(time: datetime) -> str:
    """Write a time as Ollama does (RFC 3339)."""
    return time.isoformat().replace("+00:00", "Z")


def nanoseconds(seconds: float) -> int:
    """Write a duration as Ollama does."""
    return round(seconds * 1e9)
