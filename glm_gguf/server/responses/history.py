"""The input items of a response to a history in OpenAI's older form.

What the model said in one turn comes as several items, and becomes one message with its calls. Thoughts of earlier
answers are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from glm_gguf.errors import RequestError
from glm_gguf.server.responses.input_items import (
    InputCall,
    InputCallOutput,
    InputMessage,
    InputReasoning,
    InputText,
    Item,
    OtherItem,
    OtherPart,
    Part,
)
from glm_gguf.server.turns import READS_TEXT, Turn

Placed = tuple[str, Item]
"""An item, and where it stands."""


def item_turns(items: Sequence[Item]) -> list[Turn]:
    """Return the messages that items become; RequestError for an item that means nothing here."""
    placed = [(f"input[{index}]", item) for index, item in enumerate(items) if not isinstance(item, InputReasoning)]
    turns: list[Turn] = []
    for said, grouped in groupby(placed, key=lambda one: _is_said(one[1])):
        group = list(grouped)
        turns += _answer(group) if said else [_turn(where, item) for where, item in group]
    return turns


def _is_said(item: Item) -> bool:
    """Tell whether the model said it."""
    return isinstance(item, InputCall) or (isinstance(item, InputMessage) and item.role == "assistant")


def _answer(group: Sequence[Placed]) -> Iterator[Turn]:
    """Return what the model said: messages, and where it called, one message with all of it."""
    calls = [(where, item) for where, item in group if isinstance(item, InputCall)]
    texts = [(where, _parts(item.content, where)) for where, item in group if isinstance(item, InputMessage)]
    if not calls:
        yield from (Turn({"role": "assistant", "content": parts}, where) for where, parts in texts)
        return
    content = [part for _, parts in texts for part in parts]
    message = {"role": "assistant", "content": content, "tool_calls": [_call(call) for _, call in calls]}
    yield Turn(message, group[0][0], tuple(where for where, _ in calls))


def _turn(where: str, item: Item) -> Turn:
    """Return the message of one item that others said."""
    match item:
        case InputMessage(role=role, content=content):
            return Turn({"role": role, "content": _parts(content, where)}, where)
        case InputCallOutput(call_id=call_id, output=output):
            content_parts = _parts(output, where, "output")
            return Turn({"role": "tool", "tool_call_id": call_id, "content": content_parts}, where)
        case OtherItem(type="item_reference" | None):
            what = "nothing is stored here that an item could refer to"
            raise RequestError(what, field=where, fix="give the item itself")
    raise RequestError(f"cannot read an item of type {item.type!r}", field=f"{where}.type", fix=READS_TEXT)


def _call(call: InputCall) -> dict[str, Any]:
    return {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _parts(content: str | Sequence[Part], where: str, field: str = "content") -> list[dict[str, str]]:
    """Return the parts of a content as the older form has them."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    for index, part in enumerate(content):
        if isinstance(part, OtherPart):
            place = f"{where}.{field}[{index}].type"
            raise RequestError(f"cannot read a part of type {part.type!r}", field=place, fix=READS_TEXT)
    return [{"type": "text", "text": _text(part)} for part in content]


def _text(part: Part) -> str:
    if isinstance(part, InputText):
        return part.text
    return "" if isinstance(part, OtherPart) else part.refusal
