"""The input of a response: messages, calls and their results, as items that come over the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from glm_gguf.server.wire import WireRequest

ITEMS = ("message", "function_call", "function_call_output", "reasoning")


class InputText(WireRequest):
    """Text, of whoever speaks."""

    type: Literal["input_text", "output_text", "text"] = "input_text"
    text: str


class InputRefusal(WireRequest):
    """What a model said in place of an answer."""

    type: Literal["refusal"]
    refusal: str


class OtherPart(WireRequest):
    """A part that these models cannot read: an image, a file, a sound."""

    type: str


def _part_kind(part: Any) -> str:
    kind = part.get("type") if isinstance(part, dict) else getattr(part, "type", None)
    if kind in ("input_text", "output_text", "text"):
        return "text"
    return "refusal" if kind == "refusal" else "other"


Part = Annotated[
    Annotated[InputText, Tag("text")] | Annotated[InputRefusal, Tag("refusal")] | Annotated[OtherPart, Tag("other")],
    Discriminator(_part_kind),
]


class InputMessage(WireRequest):
    """A message; `type` may be left out."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Part]


class InputCall(WireRequest):
    """A call that the model made."""

    type: Literal["function_call"]
    call_id: str
    name: Annotated[str, Field(min_length=1)]
    arguments: str


class InputCallOutput(WireRequest):
    """What a call returned."""

    type: Literal["function_call_output"]
    call_id: str
    output: str | list[Part]


class InputReasoning(WireRequest):
    """A thought of an earlier answer, which the models are not shown."""

    type: Literal["reasoning"]


class OtherItem(WireRequest):
    """An item that means nothing here: of a built-in tool, or a reference to something stored."""

    type: str | None = None


def _item_kind(item: Any) -> str:
    if not isinstance(item, dict):
        return str(getattr(item, "type", "other"))
    kind = item.get("type")
    if kind is None and "role" in item:
        return "message"
    return kind if kind in ITEMS else "other"


Item = Annotated[
    Annotated[InputMessage, Tag("message")]
    | Annotated[InputCall, Tag("function_call")]
    | Annotated[InputCallOutput, Tag("function_call_output")]
    | Annotated[InputReasoning, Tag("reasoning")]
    | Annotated[OtherItem, Tag("other")],
    Discriminator(_item_kind),
]
