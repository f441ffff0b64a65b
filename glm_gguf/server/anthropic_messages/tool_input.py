"""The arguments of a call as the value that Anthropic's `tool_use` block holds."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

from pydantic_core import from_json


def tool_input(arguments: str) -> dict[str, Any]:
    """Decode arguments; of cut ones what is whole, as Anthropic's own client reads a stream.

    What JSON allows and a JSON value in Python cannot keep is bent: numbers beyond a float, halves of surrogate pairs.
    """
    try:
        value = from_json(arguments, allow_partial=True)
    except ValueError:  # nothing, or half a surrogate pair
        value = _decoded(arguments)
    return _plain(value) if isinstance(value, dict) else {}


def _decoded(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return {}


def _plain(value: Any) -> Any:
    """Return a value that can be written as JSON in UTF-8."""
    match value:
        case dict():
            return {_plain(key): _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case str():
            return value.encode(errors="replace").decode()
        case float() if not math.isfinite(value):
            return math.copysign(sys.float_info.max, value)
    return value
