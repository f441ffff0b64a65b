"""The content of Anthropic's messages: blocks as they come over the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from glm_gguf.server.wire import WireRequest

KINDS = ("text", "thinking", "redacted_thinking", "tool_use", "tool_result")


class TextBlock(WireRequest):
    """Text."""

    type: Literal["text"] = "text"
    text: str


class ThinkingBlock(WireRequest):
    """A thought of an earlier answer, which the models are not shown."""

    type: Literal["thinking", "redacted_thinking"]


class OtherBlock(WireRequest):
    """A block that these models cannot read."""

    type: str


class ToolUseBlock(WireRequest):
    """A call that the model made."""

    type: Literal["tool_use"]
    id: str
    name: Annotated[str, Field(min_length=1)]
    input: dict[str, Any]


def _kind(block: Any) -> str:
    kind = block.get("type") if isinstance(block, dict) else getattr(block, "type", None)
    return kind if kind in KINDS else "other"


ResultBlock = Annotated[
    Annotated[TextBlock, Tag("text")] | Annotated[OtherBlock, Tag("other")],
    Discriminator(lambda block: "text" if _kind(block) == "text" else "other"),
]


class ToolResultBlock(WireRequest):
    """What a call returned."""

    type: Literal["tool_result"]
    tool_use_id: str
    content: str | list[ResultBlock] | None = None
    is_error: bool | None = None


Block = Annotated[
    Annotated[TextBlock, Tag("text")]
    | Annotated[ThinkingBlock, Tag("thinking")]
    | Annotated[ThinkingBlock, Tag("redacted_thinking")]
    | Annotated[ToolUseBlock, Tag("tool_use")]
    | Annotated[ToolResultBlock, Tag("tool_result")]
    | Annotated[OtherBlock, Tag("other")],
    Discriminator(_kind),
]
