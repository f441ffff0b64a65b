"""A whole message as Anthropic's API returns it."""

from __future__ import annotations

from typing import Any, Literal

from glm_gguf.server.bodies.wire import WireResponse


class TextContent(WireResponse):
    """Text of the answer."""

    type: Literal["text"]
    text: str


class ThinkingContent(WireResponse):
    """A thought; clients do not read `signature`."""

    type: Literal["thinking"]
    thinking: str
    signature: str


class ToolUseContent(WireResponse):
    """A call; with the stop reason `max_tokens` the last one may lack arguments."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


class ThinkingTokens(WireResponse):
    """Of the answer."""

    thinking_tokens: int


class MessageUsage(WireResponse):
    """Token counts; `input_tokens` are those of the prompt that were not in the cache."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    output_tokens_details: ThinkingTokens


class WholeMessage(WireResponse):
    """The answer."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[TextContent | ThinkingContent | ToolUseContent]
    stop_reason: Literal["end_turn", "tool_use", "max_tokens", "stop_sequence"]
    stop_sequence: str | None
    usage: MessageUsage


class TokenCount(WireResponse):
    """The token count of a conversation."""

    input_tokens: int
