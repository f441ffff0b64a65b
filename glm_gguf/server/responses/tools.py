"""The tools of a response, and the choice among them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Tag

from glm_gguf.server.bodies.wire import WireRequest


class DeclaredTool(WireRequest):
    """Any tool; unknown fields are kept, since a response repeats its tools."""

    model_config = ConfigDict(strict=True, extra="allow")

    type: str


class FunctionTool(DeclaredTool):
    """A function: its arguments are JSON."""

    type: Literal["function"]
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class CustomFormat(WireRequest):
    """The form of a custom tool's text: `text`, or `grammar` with its syntax (lark or regex) and its definition."""

    model_config = ConfigDict(strict=True, extra="allow")

    type: str = "text"
    syntax: str | None = None
    definition: str | None = None


class CustomTool(DeclaredTool):
    """A tool that takes one text, as it is."""

    type: Literal["custom"]
    name: str | None = None
    description: str | None = None
    format: CustomFormat | None = None


class NamespaceTool(DeclaredTool):
    """Tools under a common name."""

    type: Literal["namespace"]
    name: str | None = None
    description: str | None = None
    tools: list[ResponseTool] | None = None


def is_web_search(kind: str) -> bool:
    """Tell whether a type of tool is one of OpenAI's names for web search; newer ones have a date behind."""
    return kind.partition("_20")[0] in ("web_search", "web_search_preview")


def _kind(tool: Any) -> str:
    kind = tool.get("type") if isinstance(tool, dict) else getattr(tool, "type", None)
    return kind if kind in ("function", "custom", "namespace") else "other"


ResponseTool = Annotated[
    Annotated[FunctionTool, Tag("function")]
    | Annotated[CustomTool, Tag("custom")]
    | Annotated[NamespaceTool, Tag("namespace")]
    | Annotated[DeclaredTool, Tag("other")],
    Discriminator(_kind),
]
NamespaceTool.model_rebuild()


class AllowedResponseTool(WireRequest):
    """One of the allowed tools."""

    type: str
    name: str | None = None
    namespace: str | None = None


class ResponseToolChoice(WireRequest):
    """One tool by name, or some: {"type": "function", "name"}, {"type": "allowed_tools", "mode", "tools"}."""

    type: str
    name: str | None = None
    namespace: str | None = None
    mode: Literal["auto", "required"] = "auto"
    tools: list[AllowedResponseTool] | None = None
