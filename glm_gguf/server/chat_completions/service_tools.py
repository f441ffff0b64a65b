"""Tools of a chat completion that are no functions: a service would run them, so they are left out and named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from glm_gguf.server.problem import Problem, Refused


def functions_of(tools: Sequence[Mapping[str, Any]] | None) -> list[Mapping[str, Any]]:
    """Return the functions among tools; Refused for a custom tool, whose calls are no JSON."""
    for index, tool in enumerate(tools or ()):
        if tool.get("type") == "custom" and isinstance(tool.get("custom"), Mapping):
            what = f"tools[{index}].type: /v1/responses offers custom tools; declare a function here."
            raise Refused(Problem(400, what, param=f"tools[{index}].type"))
    return [tool for tool in tools or () if not _kind(tool)]


def left_out_tools(tools: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """Return the types of the tools that are left out, for the header that names ignored fields."""
    return [f"tools:{kind}" for tool in tools or () if (kind := _kind(tool))]


def _kind(tool: Mapping[str, Any]) -> str | None:
    """Return the type of a tool that a service runs, such as Zhipu's {"type": "web_search", "web_search": {…}}."""
    kind = tool.get("type")
    if not isinstance(kind, str) or not kind or kind in ("function", "custom") or "function" in tool:
        return None
    return kind
