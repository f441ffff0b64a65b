"""The input items of a response: messages, calls and their results."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, TypeAdapter

from glm_gguf.server.bodies.wire import Many, WireRequest
from glm_gguf.server.responses.tools import ResponseTool

KINDS = {
    "message": "message",
    "function_call": "call",
    "custom_tool_call": "custom call",
    "function_call_output": "result",
    "custom_tool_call_output": "result",
    "additional_tools": "declared tools",
    "tool_search_output": "declared tools",
}


class InputPart(WireRequest):
    """A part of a content: text or media."""

    model_config = ConfigDict(strict=True, extra="allow")

    type: str = "input_text"


class InputMessage(WireRequest):
    """A message; `type` may be left out."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: str | Many[InputPart] | None
    tool_calls: Any = None
    partial: Any = None
    """True: the answer continues this message, the last one."""
    prefix: Any = None
    """Another name of `partial`."""


class InputCall(WireRequest):
    """The model's call of a function."""

    type: Literal["function_call"] = "function_call"
    call_id: str | None = None
    name: Annotated[str, Field(min_length=1)]
    namespace: str | None = None
    arguments: Any = None
    """JSON text; other services' histories have the object itself, or nothing."""


class InputCustomCall(WireRequest):
    """The model's call of a custom tool, which takes one text."""

    type: Literal["custom_tool_call"]
    call_id: str
    name: Annotated[str, Field(min_length=1)]
    namespace: str | None = None
    input: str


class InputCallOutput(WireRequest):
    """The result of a call."""

    type: Literal["function_call_output", "custom_tool_call_output"] = "function_call_output"
    call_id: str | None = None
    output: Any = None
    """A text, parts, or any other value."""


class InputTools(WireRequest):
    """Tools declared in the middle of a conversation."""

    type: Literal["additional_tools", "tool_search_output"]
    tools: list[ResponseTool]


class OtherItem(WireRequest):
    """An item of another kind: of a tool that a service runs, a thought, a reference to something stored."""

    model_config = ConfigDict(strict=True, extra="allow")

    type: str | None = None


def _item_kind(item: Any) -> str:
    if not isinstance(item, dict):
        return KINDS.get(str(getattr(item, "type", None)), "other")
    kind = item.get("type")
    if kind is None and "role" in item:
        return "message"
    return KINDS.get(kind, "other") if isinstance(kind, str) else "other"


InputItem = Annotated[
    Annotated[InputMessage, Tag("message")]
    | Annotated[InputCall, Tag("call")]
    | Annotated[InputCustomCall, Tag("custom call")]
    | Annotated[InputCallOutput, Tag("result")]
    | Annotated[InputTools, Tag("declared tools")]
    | Annotated[OtherItem, Tag("other")],
    Discriminator(_item_kind),
]

READ_ITEM: Final[TypeAdapter[InputItem]] = TypeAdapter(InputItem)
"""Reads one item."""
