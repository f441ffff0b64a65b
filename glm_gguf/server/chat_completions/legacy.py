"""Translates the legacy fields `functions` and `function_call` into `tools` and `tool_choice`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def modern_tools(functions: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """Declare functions as tools."""
    return [{"type": "function", "function": function} for function in functions or ()]


def modern_choice(choice: str | Mapping[str, Any] | None) -> str | Mapping[str, Any] | None:
    """Write `function_call` as `tool_choice`."""
    return {"type": "function", "function": choice} if isinstance(choice, Mapping) else choice


def modern_messages(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Translate legacy calls and results of a history; other messages stay as they are."""
    return [_modern(message) for message in messages]


def _modern(message: Mapping[str, Any]) -> Mapping[str, Any]:
    if message.get("role") == "function":
        return {"role": "tool", "content": message.get("content")}
    if message.get("function_call") and not message.get("tool_calls"):
        return {**message, "tool_calls": [{"type": "function", "function": message["function_call"]}]}
    return message
