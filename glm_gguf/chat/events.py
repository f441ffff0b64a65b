"""The events of a model's answer, and the fold of a stream of them into one value."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

FinishReason = Literal["stop", "tool_calls", "length", "timeout"]


def new_call_id() -> str:
    """Return a random id in OpenAI's form; a result names its call by it."""
    return f"call_{os.urandom(12).hex()}"


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts: of the prompt, of its part found in the KV cache, and of the answer with its stop token."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    """Tokens of the answer that belong to its thought."""
    drafted_tokens: int = 0
    """Tokens of drafts that were computed for the answer."""
    accepted_tokens: int = 0
    """Those that are in the answer: they needed no batch of their own."""

    def __post_init__(self) -> None:
        assert 0 <= self.cached_tokens <= self.prompt_tokens
        assert 0 <= self.reasoning_tokens <= self.completion_tokens
        assert 0 <= self.accepted_tokens <= self.drafted_tokens


@dataclass(frozen=True, slots=True)
class PrefillProgress:
    """The prompt is computed as far as this; only where `progress` was asked for, and one batch is too small for it.

    `done_tokens` grows up to `total_tokens`. It falls where the engine preempts the answer, and computes it again.
    """

    done_tokens: int
    """Tokens in the KV cache, those that were found there included."""
    total_tokens: int
    cached_tokens: int
    """Tokens that were found in the KV cache."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds that the engine took for an answer, without its time in the queue."""

    prefill: float = 0.0
    """From the admission to the first token."""
    decode: float = 0.0
    """From the first token to the last."""


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
    """A call begins; `index` counts the calls of this answer from 0. The flags are those of ToolCall."""

    index: int
    name: str
    declared: bool = True
    repaired: bool = False
    id: str = field(default_factory=new_call_id, compare=False, kw_only=True)
    """A result names it as `tool_call_id`."""


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """More JSON text of the arguments of call `index`."""

    index: int
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolCallCut:
    """Call `index` was cut off while its arguments were streamed: it is no call, and its text follows.

    Only an answer under a grammar streams arguments before they are whole.
    """

    index: int


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token that was drawn, and the likeliest ones in its place; only where `logprobs` were asked for.

    Natural logarithms of the model's own probabilities, before temperature and cuts. The event comes before its text.
    """

    token: bytes
    logprob: float
    alternatives: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of the answer, and its reason; always the last event."""

    reason: FinishReason
    usage: Usage = field(default_factory=Usage)
    attempts: int = 1
    """Number of attempts; an answer is retried if it violates a keyword that no grammar enforces."""
    unenforced: str | None = None
    """Path of the first keyword that no grammar enforces: the answer was held back and checked."""
    stop_text: str | None = None
    """The stop text that ended it, if one did."""
    timings: Timings = field(default_factory=Timings, compare=False)
    """Of the last attempt, as `usage` is."""


Event = (
    PrefillProgress | TextDelta | ReasoningDelta | ToolCallStart | ToolCallDelta | ToolCallCut | TokenLogprob | Finish
)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call: the function's name as declared, and its arguments, JSON text of an object as the model wrote it."""

    name: str
    arguments: str
    declared: bool = True
    """False for an undeclared function: only the form of the answer says that it is a call."""
    repaired: bool = False
    """The arguments were a Python literal and are rewritten as JSON; only in lenient mode."""
    id: str = field(default_factory=new_call_id, compare=False, kw_only=True)
    """A result names it as `tool_call_id`; no other call has it."""

    def message(self) -> dict[str, Any]:
        """Return the call as an entry of an OpenAI message's `tool_calls`."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}

    def result(self, content: str) -> dict[str, Any]:
        """Return the call's result as the message that follows it."""
        return {"role": "tool", "tool_call_id": self.id, "content": content}


@dataclass(frozen=True, slots=True)
class ChatResult:
    """A whole answer."""

    content: str
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason = "stop"
    usage: Usage = field(default_factory=Usage)
    logprobs: tuple[TokenLogprob, ...] = ()
    attempts: int = 1
    unenforced: str | None = None
    stop_text: str | None = None
    timings: Timings = field(default_factory=Timings, compare=False)

    def message(self) -> dict[str, Any]:
        """Return the answer as the assistant message of an OpenAI history, without the thought."""
        message: dict[str, Any] = {"role": "assistant", "content": self.content}
        if self.tool_calls:
            message["tool_calls"] = [call.message() for call in self.tool_calls]
        return message


def collect(events: Iterable[Event]) -> ChatResult:
    """Fold a stream of events into the whole answer; a stream without a Finish counts as `length`."""
    content: list[str] = []
    reasoning: list[str] = []
    calls: list[ToolCall] = []
    logprobs: list[TokenLogprob] = []
    finish = Finish("length")
    for event in events:
        match event:
            case TextDelta(text):
                content.append(text)
            case ReasoningDelta(text):
                reasoning.append(text)
            case ToolCallStart(_, name, declared, repaired, id=call_id):
                calls.append(ToolCall(name, "", declared, repaired, id=call_id))
            case ToolCallDelta(index, arguments):
                calls[index] = replace(calls[index], arguments=calls[index].arguments + arguments)
            case ToolCallCut(index):
                del calls[index:]
            case TokenLogprob():
                logprobs.append(event)
            case Finish():
                finish = event
    return ChatResult(
        "".join(content),
        "".join(reasoning),
        tuple(calls),
        finish.reason,
        finish.usage,
        tuple(logprobs),
        attempts=finish.attempts,
        unenforced=finish.unenforced,
        stop_text=finish.stop_text,
        timings=finish.timings,
    )
