"""Anthropic's messages to a history in OpenAI's form.

A user's message may hold the results of calls beside text; they become messages of their own, before it. Thoughts of
earlier answers are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from glm_gguf.chat.tools import error_text
from glm_gguf.errors import RequestError
from glm_gguf.server.anthropic_messages.blocks import (
    Block,
    OtherBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from glm_gguf.server.turns import READS_TEXT, Turn


def message_turns(role: str, content: str | Sequence[Block], where: str) -> list[Turn]:
    """Return what one message becomes."""
    blocks = [TextBlock(text=content)] if isinstance(content, str) else content
    if role == "assistant":
        return [_answer(blocks, where)]
    results = [
        _result(block, f"{where}.content[{index}]")
        for index, block in enumerate(blocks)
        if isinstance(block, ToolResultBlock) and role == "user"
    ]
    texts = _texts(blocks, where, (TextBlock, *([ToolResultBlock] if role == "user" else [])))
    if results and not texts:
        return results
    return [*results, Turn({"role": role, "content": texts}, where)]


def _answer(blocks: Sequence[Block], where: str) -> Turn:
    """Gather an assistant's text and calls."""
    texts = _texts(blocks, where, (TextBlock, ThinkingBlock, ToolUseBlock))
    message: dict[str, Any] = {"role": "assistant", "content": texts}
    calls = [(index, block) for index, block in enumerate(blocks) if isinstance(block, ToolUseBlock)]
    if calls:
        message["tool_calls"] = [_call(block) for _, block in calls]
    return Turn(message, where, tuple(f"{where}.content[{index}]" for index, _ in calls))


def _call(block: ToolUseBlock) -> dict[str, Any]:
    return {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": block.input}}


def _result(block: ToolResultBlock, where: str) -> Turn:
    """Return a result; that it is an error is told to the model as text."""
    content = block.content or ""
    if not isinstance(content, str):
        content = "\n".join(part["text"] for part in _texts(content, where, (TextBlock,)))
    if block.is_error:
        content = error_text(content)
    return Turn({"role": "tool", "tool_call_id": block.tool_use_id, "content": content}, where)


def _texts(blocks: Sequence[Block], where: str, allowed: tuple[type, ...]) -> list[dict[str, str]]:
    """Return the text blocks as parts of OpenAI's; RequestError for a block that may not stand here."""
    for index, block in enumerate(blocks):
        if not isinstance(block, allowed):
            _refuse(block, f"{where}.content[{index}].type")
    return [{"type": "text", "text": block.text} for block in blocks if isinstance(block, TextBlock)]


def _refuse(block: Block, where: str) -> NoReturn:
    if isinstance(block, OtherBlock):
        raise RequestError(f"cannot read a block of type {block.type!r}", field=where, fix=READS_TEXT)
    raise RequestError(f"a block of type {block.type!r} cannot stand here", field=where)
