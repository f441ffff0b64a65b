"""The arguments of a call as an object, for APIs that send no JSON text."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

from pydantic_core import from_json


def arguments_object(arguments: str) -> dict[str, Any]:
    """Decode a call's arguments; of cut ones the complete part, as clients read a stream.

    Numbers beyond a float and halves of surrogate pairs are replaced, since JSON in UTF-8 cannot hold them.
    """
    try:
        value = from_json(arguments, allow_partial=True)
    except ValueError:  # nothing, or half a surrogate pair
        value = _decoded(arguments)
    return plain_json(value) if isinstance(value, dict) else {}


def _decoded(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return {}


def plain_json(value: Any) -> Any:
    """Return a value that can be written as JSON in UTF-8."""
    match value:
        case dict():
            return {plain_json(key): plain_json(item) for key, item in value.items()}
        case list():
            return [plain_json(item) for item in value]
        case str():
            return value.encode(errors="replace").decode()
        case float() if not math.isfinite(value):
            return math.copysign(sys.float_info.max, value)
    return value
