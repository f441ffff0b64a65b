"""Translates items of tools that OpenAI's service or clients run into calls and results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from glm_gguf.server.bodies.tool_output import output_text
from glm_gguf.server.responses.input_items import InputCall, InputCallOutput, OtherItem

_ARGUMENTS: Final = ("arguments", "action", "actions", "operation", "code", "queries")
"""Fields of a call's arguments."""
_RESULTS: Final = ("output", "outputs", "results", "error")
"""Fields of a result in the item of its call."""


def read_item(item: OtherItem) -> Iterator[InputCall | InputCallOutput]:
    """Yield the call of an item, and its result if the item holds one; nothing for other items."""
    fields, kind = item.model_extra or {}, item.type or ""
    call_id = fields.get("call_id") or fields.get("id")
    if not isinstance(call_id, str):
        return
    if kind.endswith("_call_output"):
        yield InputCallOutput(call_id=call_id, output=output_text(fields.get("output", fields.get("status"))))
    if not kind.endswith("_call"):
        return
    returned = next((fields[name] for name in _RESULTS if fields.get(name)), None)
    if returned is None and "call_id" not in fields:
        return
    name = fields.get("name")
    called = name if isinstance(name, str) and name else kind.removesuffix("_call")
    yield InputCall(call_id=call_id, name=called, arguments=_arguments(fields))
    if returned is not None:
        yield InputCallOutput(call_id=call_id, output=output_text(returned))


def _arguments(fields: Mapping[str, Any]) -> str:
    """Write the arguments as JSON: the one object that holds them, or all of these fields."""
    given = {name: fields[name] for name in _ARGUMENTS if fields.get(name) is not None}
    match list(given.values()):
        case [str(text)] if "arguments" in given:
            return text
        case [dict(only)]:
            return json.dumps(only, ensure_ascii=False)
    return json.dumps(given, ensure_ascii=False)
