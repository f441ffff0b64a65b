"""Translates the events of an answer into Anthropic's stream events, and into the whole message."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from glm_gguf.chat.events import (
    Event,
    Finish,
    ReasoningDelta,
    TextDelta,
    ToolCallCut,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from glm_gguf.server.anthropic_messages.stop_reason import stop_reason
from glm_gguf.server.problem import ANTHROPIC, Problem
from glm_gguf.server.streams.call_arguments import arguments_object
from glm_gguf.server.streams.wire_stream import WireEvent

Thoughts = Literal["hidden", "shown", "omitted"]
"""The thought is left out, sent, or sent as a block without its text."""


@dataclass(frozen=True, slots=True)
class MessageFrame:
    """The fields of a message that are known before its answer."""

    id: str
    model: str
    thoughts: Thoughts = "hidden"
    input_tokens: int = 0


class MessageEvents:
    """One message: call `begin`, `feed` with the answer's events, `flush`; `message` is the whole message."""

    def __init__(self, frame: MessageFrame, new_id: Callable[[str], str]) -> None:
        self._frame = frame
        self._new_id = new_id
        self._blocks: list[dict[str, Any]] = []
        self._open: str | None = None  # type of the last block while it is being written
        self._arguments = ""  # of the open call
        self._cut = False  # the last call was cut off, and its text follows
        self._stop: dict[str, Any] = {"stop_reason": None, "stop_sequence": None}
        self._usage = _usage(Usage(frame.input_tokens))

    @property
    def message(self) -> dict[str, Any]:
        """The message so far."""
        head = {"id": self._frame.id, "type": "message", "role": "assistant", "model": self._frame.model}
        return {**head, "content": [dict(block) for block in self._blocks], **self._stop, "usage": self._usage}

    def begin(self) -> Iterator[WireEvent]:
        """Open the message."""
        yield {"type": "message_start", "message": self.message}
        yield {"type": "ping"}

    def feed(self, event: Event) -> Iterator[WireEvent]:
        """Translate the next event of the answer."""
        match event:
            case TextDelta(text) if not self._cut:
                yield from self._enter({"type": "text", "text": ""})
                self._blocks[-1]["text"] += text
                yield self._delta({"type": "text_delta", "text": text})
            case ReasoningDelta(text) if self._frame.thoughts != "hidden":
                yield from self._think(text)
            case ToolCallStart(name=name):
                yield from self._close()
                yield from self._enter({"type": "tool_use", "id": self._new_id("toolu_"), "name": name, "input": {}})
            case ToolCallDelta(arguments=arguments):
                self._arguments += arguments
                yield self._delta({"type": "input_json_delta", "partial_json": arguments})
            case ToolCallCut():
                self._cut = True
            case Finish():
                yield from self._finish(event)

    def flush(self) -> Iterator[WireEvent]:
        """End the answer; an incomplete one counts as cut."""
        if self._stop["stop_reason"] is None:
            yield from self._finish(Finish("length"))

    def fail(self, problem: Problem) -> Iterator[WireEvent]:
        """End an answer that failed."""
        yield ANTHROPIC.value(problem)

    def _think(self, text: str) -> Iterator[WireEvent]:
        yield from self._enter({"type": "thinking", "thinking": "", "signature": ""})
        self._blocks[-1]["thinking"] += text
        if self._frame.thoughts == "shown":
            yield self._delta({"type": "thinking_delta", "thinking": text})

    def _enter(self, block: dict[str, Any]) -> Iterator[WireEvent]:
        """Continue the open block, or begin this one."""
        if self._open == block["type"]:
            return
        yield from self._close()
        self._blocks.append(block)
        self._open, self._arguments = block["type"], ""
        yield {"type": "content_block_start", "index": len(self._blocks) - 1, "content_block": dict(block)}

    def _delta(self, delta: dict[str, Any]) -> WireEvent:
        return {"type": "content_block_delta", "index": len(self._blocks) - 1, "delta": delta}

    def _close(self) -> Iterator[WireEvent]:
        """End the open block, if there is one."""
        if self._open is None:
            return
        block = self._blocks[-1]
        if block["type"] == "tool_use":
            block["input"] = arguments_object(self._arguments)
        if block["type"] == "thinking":
            block["signature"] = _signature(block["thinking"])
            if self._frame.thoughts == "omitted":
                block["thinking"] = ""
            yield self._delta({"type": "signature_delta", "signature": block["signature"]})
        self._open = None
        yield {"type": "content_block_stop", "index": len(self._blocks) - 1}

    def _finish(self, finish: Finish) -> Iterator[WireEvent]:
        """End the message; clients expect a text or a call, so an answer without either becomes an empty text."""
        if all(block["type"] == "thinking" for block in self._blocks):
            yield from self._enter({"type": "text", "text": ""})
        yield from self._close()
        self._stop = {"stop_reason": stop_reason(finish), "stop_sequence": finish.stop_text}
        self._usage = _usage(finish.usage)
        yield {"type": "message_delta", "delta": dict(self._stop), "usage": self._usage}
        yield {"type": "message_stop"}


def _usage(usage: Usage) -> dict[str, Any]:
    """Count tokens: Anthropic's `input_tokens` are those that were not in the cache."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
    }


def _signature(thought: str) -> str:
    """Return the signature of a thinking block: without one, clients merge the thought into the text.

    The server does not read it: prompts leave earlier thoughts out.
    """
    return base64.b64encode(hashlib.sha256(thought.encode(errors="replace")).digest()).decode()
