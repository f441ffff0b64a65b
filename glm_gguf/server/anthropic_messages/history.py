"""Translates Anthropic's messages into OpenAI's form.

A user's message may hold results of calls beside text; they become messages of their own, before it. The result of a
service's tool stands inside an assistant's message, which is split there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from glm_gguf.chat.content_parts import THOUGHT_KINDS
from glm_gguf.chat.plain_value import json_text
from glm_gguf.chat.tools import error_text
from glm_gguf.errors import RequestError
from glm_gguf.server.anthropic_messages.blocks import (
    Block,
    OtherBlock,
    ServiceResultBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from glm_gguf.server.bodies.message_origin import TracedMessage
from glm_gguf.server.bodies.tool_output import output_text

PlacedBlock = tuple[str, Block]
"""A block, and its path in the request."""
LEFT_OUT = ("tool_addition", "tool_removal", "mcp_tool_listing", "fallback")
"""Blocks that address a service, not a model."""


def block_messages(role: str, content: str | Sequence[Block] | None, where: str) -> list[TracedMessage]:
    """Return the messages that one message becomes; RequestError for a block that is not allowed there."""
    if not content or isinstance(content, str):
        return [TracedMessage({"role": role, "content": content}, where)]
    placed = [(f"{where}.content[{index}]", block) for index, block in enumerate(content)]
    read = [(place, block) for place, block in placed if block.type not in LEFT_OUT]
    if placed and not read:
        return []
    if role == "assistant":
        return _answer(read, where)
    results = [
        _result(block, place) for place, block in read if isinstance(block, ToolResultBlock | ServiceResultBlock)
    ]
    parts = [one for one in read if not isinstance(one[1], ToolResultBlock | ServiceResultBlock)]
    if role != "user" and results:
        _refuse(read[0][1], f"{where}.content")
    return results if results and not parts else [*results, _message(role, parts, where)]


def left_out_blocks(content: str | Sequence[Block] | None) -> list[str]:
    """Return the types of the blocks that are left out, and of those that request citations."""
    blocks = [] if not content or isinstance(content, str) else content
    return [block.type for block in blocks if block.type in LEFT_OUT] + [
        f"{block.type}.citations" for block in blocks if isinstance(block, OtherBlock) and _cites(block)
    ]


def _cites(block: OtherBlock) -> bool:
    match (block.model_extra or {}).get("citations"):
        case {"enabled": True}:
            return True
    return False


def _answer(blocks: Sequence[PlacedBlock], where: str) -> list[TracedMessage]:
    """Join an assistant's text and calls into messages; the result of a service's tool ends a message."""
    messages: list[TracedMessage] = []
    gathered: list[PlacedBlock] = []
    for place, block in blocks:
        if isinstance(block, ToolResultBlock):
            _refuse(block, f"{place}.type")
        if isinstance(block, ServiceResultBlock):
            messages += [_said(gathered, where)] if gathered else []
            messages.append(_result(block, place))
            gathered = []
        else:
            gathered.append((place, block))
    return messages if messages and not gathered else [*messages, _said(gathered, where)]


def _said(blocks: Sequence[PlacedBlock], where: str) -> TracedMessage:
    """Return one message of the assistant, with its calls."""
    calls = [(place, block) for place, block in blocks if isinstance(block, ToolUseBlock)]
    text = _message("assistant", [one for one in blocks if not isinstance(one[1], ToolUseBlock)], where)
    if not calls:
        return text
    message = {**text.message, "tool_calls": [_call(block) for _, block in calls]}
    return TracedMessage(message, where, tuple(place for place, _ in calls), text.parts)


def _call(block: ToolUseBlock) -> dict[str, Any]:
    arguments = block.input if isinstance(block.input, str | dict | None) else json_text(block.input)
    return {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": arguments}}


def _result(block: ToolResultBlock | ServiceResultBlock, where: str) -> TracedMessage:
    """Return a result; an error is marked in its text."""
    text = output_text(block.content)
    text = error_text(text) if block.is_error else text
    return TracedMessage({"role": "tool", "tool_call_id": block.tool_use_id, "content": text}, where)


def _message(role: str, blocks: Sequence[PlacedBlock], where: str) -> TracedMessage:
    """Return a message with its parts as they are."""
    for place, block in blocks:
        if isinstance(block, ToolUseBlock):
            _refuse(block, f"{place}.type")
    kept = [(place, block) for place, block in blocks if role != "assistant" or block.type not in THOUGHT_KINDS]
    parts = [_part(block) for _, block in kept]
    return TracedMessage({"role": role, "content": parts}, where, parts=tuple(place for place, _ in kept))


def _part(block: Block) -> dict[str, Any]:
    """Return a block as a part; a compaction block holds a service's summary of earlier messages."""
    if isinstance(block, TextBlock):
        return {"type": "text", "text": block.text}
    part = block.model_dump()
    return {"type": "text", "text": part.get("content") or ""} if block.type == "compaction" else part


def _refuse(block: Block, where: str) -> NoReturn:
    raise RequestError(f"a block of type {block.type!r} is not allowed here", field=where)
