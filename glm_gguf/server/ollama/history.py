"""Translates Ollama's messages into OpenAI's form.

Ollama's calls have no ids, and a result names the function that returned it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from glm_gguf.server.problem import Problem, Refused


def openai_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a conversation with an id at each call and result; Refused for a message with images."""
    translated: list[dict[str, Any]] = []
    open_calls: list[tuple[Any, Any]] = []  # name and id of each call without a result, of the latest answer
    for index, message in enumerate(messages):
        if message.get("images"):
            where = f"messages[{index}].images"
            raise Refused(Problem(400, f"{where}: the models read text; leave it out.", param=where))
        match message:
            case {"role": "assistant", "tool_calls": [*calls]} if calls:
                if not (translated and translated[-1].get("tool_calls")):
                    open_calls = []
                named = [_identified(call, f"{index}.{place}") for place, call in enumerate(calls)]
                open_calls += [_name_and_id(call) for call in named]
                translated.append({**message, "tool_calls": named})
            case {"role": "tool"}:
                translated.append({**message, "tool_call_id": _answered(message, open_calls)})
            case _:
                translated.append(dict(message))
    return translated


def _identified(call: Any, call_id: str) -> Any:
    """Return a call with its id, or with this one."""
    return {**call, "id": call.get("id") or call_id} if isinstance(call, Mapping) else call


def _name_and_id(call: Any) -> tuple[Any, Any]:
    match call:
        case {"id": call_id, "function": {"name": name}}:
            return name, call_id
    return None, None


def _answered(result: Mapping[str, Any], open_calls: list[tuple[Any, Any]]) -> Any:
    """Return the id of the call that a result belongs to; None where it names neither an id nor a function."""
    call_id, name = result.get("tool_call_id"), result.get("tool_name") or result.get("name")
    for index, (called, known) in enumerate(open_calls):
        if (known == call_id) if call_id else (name is not None and called == name):
            del open_calls[index]
            return known
    return call_id
