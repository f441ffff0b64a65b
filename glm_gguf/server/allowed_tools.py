"""The choice among some of the declared functions, OpenAI's `allowed_tools`: the others are not declared."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from glm_gguf.errors import RequestError


def allowed_tools(declared: Sequence[Mapping[str, Any]], names: Collection[str | None]) -> list[Mapping[str, Any]]:
    """Return the declarations of these functions; RequestError for one that is not declared."""
    known = {_name(tool) for tool in declared}
    for name in names:
        if name is None or name not in known:
            raise RequestError(
                f"no function {name!r} is declared", field="tool_choice.tools", fix="name some of `tools`"
            )
    return [tool for tool in declared if _name(tool) in names]


def _name(tool: Mapping[str, Any]) -> Any:
    function = tool.get("function")
    return function.get("name") if isinstance(function, Mapping) else None
