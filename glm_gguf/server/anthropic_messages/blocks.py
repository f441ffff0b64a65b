"""The content blocks of Anthropic's messages."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag

from glm_gguf.server.bodies.wire import WireRequest


class TextBlock(WireRequest):
    """Text."""

    type: Literal["text"] = "text"
    text: Annotated[str, BeforeValidator(lambda text: "" if text is None else text)]


class OtherBlock(WireRequest):
    """A block of another kind: text in another form, a thought, or media."""

    model_config = ConfigDict(strict=True, extra="allow")

    type: str


class ToolUseBlock(WireRequest):
    """The model's call of a function, or of a tool that a service runs."""

    type: Literal["tool_use", "server_tool_use", "mcp_tool_use"] = "tool_use"
    id: str | None = None
    name: Annotated[str, Field(min_length=1)]
    input: Any = None
    """An object; other services' histories have its text, or nothing."""


class ToolResultBlock(WireRequest):
    """The result of a call."""

    type: Literal["tool_result"] = "tool_result"
    tool_use_id: str | None = None
    content: Any = None
    """A text, blocks, or any other value."""
    is_error: bool | None = None


class ServiceResultBlock(WireRequest):
    """The result of a tool that a service ran; it follows the call in the assistant's message."""

    type: str
    tool_use_id: str
    content: Any = None
    is_error: bool | None = None


def _kind(block: Any) -> str:
    kind = block.get("type") if isinstance(block, dict) else getattr(block, "type", None)
    match kind:
        case "text" | "tool_result":
            return str(kind)
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            return "tool_use"
        case str() if kind.endswith("_tool_result"):
            return "service_result"
    return "other"


Block = Annotated[
    Annotated[TextBlock, Tag("text")]
    | Annotated[ToolUseBlock, Tag("tool_use")]
    | Annotated[ToolResultBlock, Tag("tool_result")]
    | Annotated[ServiceResultBlock, Tag("service_result")]
    | Annotated[OtherBlock, Tag("other")],
    Discriminator(_kind),
]
