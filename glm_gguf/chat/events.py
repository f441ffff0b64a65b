"""What a model's answer is made of, as a stream of events, and the fold that turns the stream into a value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

FinishReason = Literal["stop", "tool_calls", "length"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts: the prompt's, those of it found in the KV cache, and the answer's with its stop token."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def __post_init__(self) -> None:
        assert 0 <= self.cached_tokens <= self.prompt_tokens
        assert self.completion_tokens >= 0


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More text of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More text of the thought."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallStart:
    """A call begins; `index` counts the calls of this answer from 0."""

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """More JSON text of the arguments of call `index`."""

    index: int
    arguments: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The answer ended, and why; always the last event."""

    reason: FinishReason
    usage: Usage = field(default_factory=Usage)


Event = TextDelta | ReasoningDelta | ToolCallStart | ToolCallDelta | Finish


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call: the function's name and its arguments, JSON text of an object as the model wrote it."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ChatResult:
    """A whole answer."""

    content: str
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason = "stop"
    usage: Usage = field(default_factory=Usage)

    def message(self) -> dict[str, Any]:
        """Write the answer as the assistant message that goes into an OpenAI-shaped history (without the thought)."""
        message: dict[str, Any] = {"role": "assistant", "content": self.content}
        if self.tool_calls:
            message["tool_calls"] = [
                {"type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in self.tool_calls
            ]
        return message


def collect(events: Iterable[Event]) -> ChatResult:
    """Fold a stream of events into the whole answer; a stream cut before its Finish counts as `length`."""
    content: list[str] = []
    reasoning: list[str] = []
    calls: list[ToolCall] = []
    finish = Finish("length")
    for event in events:
        match event:
            case TextDelta(text):
                content.append(text)
            case ReasoningDelta(text):
                reasoning.append(text)
            case ToolCallStart(_, name):
                calls.append(ToolCall(name, ""))
            case ToolCallDelta(index, arguments):
                calls[index] = ToolCall(calls[index].name, calls[index].arguments + arguments)
            case Finish():
                finish = event
    return ChatResult("".join(content), "".join(reasoning), tuple(calls), finish.reason, finish.usage)


def coalesce(events: Iterable[Event]) -> Iterator[Event]:
    """Join neighbouring deltas of one kind, so that streams cut differently compare equal."""
    held: Event | None = None
    for event in events:
        joined = _join(held, event)
        if joined is None and held is not None:
            yield held
        held = event if joined is None else joined
    if held is not None:
        yield held


def _join(first: Event | None, second: Event) -> Event | None:
    """Return both as one event where they are deltas of the same thing."""
    match first, second:
        case TextDelta(a), TextDelta(b):
            return TextDelta(a + b)
        case ReasoningDelta(a), ReasoningDelta(b):
            return ReasoningDelta(a + b)
        case ToolCallDelta(i, a), ToolCallDelta(j, b) if i == j:
            return ToolCallDelta(i, a + b)
    return None
