"""Translates the input items of a response into messages of chat completions.

Several items of one turn of the model become one message with its calls. Thoughts of earlier
answers are left out, and items that hold nothing a model could read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from glm_gguf.chat.content_parts import THOUGHT_KINDS
from glm_gguf.chat.custom_tool import INPUT
from glm_gguf.chat.plain_value import json_text
from glm_gguf.errors import RequestError
from glm_gguf.server.bodies.message_origin import TracedMessage
from glm_gguf.server.bodies.tool_output import output_text
from glm_gguf.server.responses.input_items import (
    InputCall,
    InputCallOutput,
    InputCustomCall,
    InputItem,
    InputMessage,
    InputTools,
    OtherItem,
)
from glm_gguf.server.responses.offered_tools import OfferedTools, joined_name, offered_tools
from glm_gguf.server.responses.other_items import read_item

Read = InputMessage | InputCall | InputCallOutput
PlacedItem = tuple[str, Read]
"""An item, and its path in the request."""


def item_messages(items: Sequence[InputItem]) -> list[TracedMessage]:
    """Return the messages of items; RequestError for an invalid item."""
    placed = [(f"input[{index}]", read) for index, item in enumerate(items) for read in _read(item)]
    messages: list[TracedMessage] = []
    for from_model, grouped in groupby(placed, key=lambda one: _is_from_model(one[1])):
        group = list(grouped)
        messages += _answer(group) if from_model else [_other_message(where, item) for where, item in group]
    return messages


def item_tools(items: Sequence[InputItem]) -> OfferedTools:
    """Return the tools that items declare."""
    tools = OfferedTools()
    for index, item in enumerate(items):
        if isinstance(item, InputTools):
            tools = tools.joined(offered_tools(item.tools, f"input[{index}].tools"))
    return tools


def left_out_items(items: Sequence[InputItem]) -> list[str]:
    """Return the types of the items that are left out, but for thoughts."""
    others = [item for item in items if isinstance(item, OtherItem) and item.type not in THOUGHT_KINDS]
    return [item.type or "item_reference" for item in others if not any(_read(item))]


def _read(item: InputItem) -> Iterator[Read]:
    """Yield an item as messages, calls of functions and their results."""
    match item:
        case InputMessage() | InputCall() | InputCallOutput():
            yield item
        case InputCustomCall():
            arguments = json.dumps({INPUT: item.input}, ensure_ascii=False)
            yield InputCall(call_id=item.call_id, name=item.name, namespace=item.namespace, arguments=arguments)
        case OtherItem():
            yield from read_item(item)


def _is_from_model(item: Read) -> bool:
    """Return whether the item is the model's."""
    return isinstance(item, InputCall) or (isinstance(item, InputMessage) and item.role == "assistant")


def _answer(group: Sequence[PlacedItem]) -> Iterator[TracedMessage]:
    """Yield the model's messages; with calls, one message with all texts and calls."""
    calls = [(where, item) for where, item in group if isinstance(item, InputCall)]
    texts = [_message(where, item) for where, item in group if isinstance(item, InputMessage)]
    if not calls:
        yield from texts
        return
    content = [part for text in texts for part in text.message["content"]]
    message = {"role": "assistant", "content": content, "tool_calls": [_call(call) for _, call in calls]}
    if isinstance(last := group[-1][1], InputMessage):
        message |= _marks(last)
    yield TracedMessage(
        message, group[0][0], tuple(where for where, _ in calls), tuple(part for text in texts for part in text.parts)
    )


def _other_message(where: str, item: Read) -> TracedMessage:
    """Return the message of one item that is not the model's."""
    if isinstance(item, InputMessage):
        return _message(where, item)
    assert isinstance(item, InputCallOutput)
    return TracedMessage({"role": "tool", "tool_call_id": item.call_id, "content": output_text(item.output)}, where)


def _message(where: str, item: InputMessage) -> TracedMessage:
    """Return a message with its parts as they are; RequestError for calls in the form of chat completions."""
    if item.tool_calls:
        what = "calls are items of type function_call, beside the messages"
        raise RequestError(what, field=f"{where}.tool_calls", fix="give them so")
    if item.content is None and item.role != "assistant":
        raise RequestError("no content", field=f"{where}.content", fix="give it a text")
    if item.content is None or isinstance(item.content, str):
        parts, places = [{"type": "text", "text": item.content or ""}], [where]
    else:
        parts = [part.model_dump() for part in item.content]
        places = [f"{where}.content[{index}]" for index in range(len(parts))]
    return TracedMessage({"role": item.role, "content": parts, **_marks(item)}, where, parts=tuple(places))


def _marks(item: InputMessage) -> dict[str, Any]:
    """Return the mark of a message that the answer continues."""
    return {"partial": True} if item.partial is True or item.prefix is True else {}


def _call(call: InputCall) -> dict[str, Any]:
    name = joined_name(call.namespace, call.name)
    arguments = call.arguments if isinstance(call.arguments, str | None) else json_text(call.arguments)
    return {"id": call.call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
