"""A Python dict literal as JSON: some models write arguments so; only the lenient mode reads them."""

from __future__ import annotations

import ast
import json
import math

from glm_gguf.chat.json_object import JsonObject

MOST_CHARACTERS = 65_536  # Python's parser takes hundreds of bytes a character
MOST_DEPTH = 64
_OPENING, _CLOSING = "([{", ")]}"


def decode_literal(text: str) -> JsonObject | None:
    """Decode a dict of literals with text keys; None for anything else. Only constants are evaluated."""
    if len(text) > MOST_CHARACTERS or _depth(text) > MOST_DEPTH:
        return None
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
    if not isinstance(value, dict) or not _is_json(value):
        return None
    try:
        written = json.dumps(value, ensure_ascii=False)
    except ValueError:  # a number with more digits than Python writes; in hexadecimals it reads any
        return None
    return JsonObject(json.loads(written), written)


def _depth(text: str) -> int:
    """Count the most brackets open at once; brackets in strings count too, so the count is never too low."""
    depth = deepest = 0
    for character in text:
        depth += (character in _OPENING) - (character in _CLOSING)
        deepest = max(deepest, depth)
    return deepest


def _is_json(value: object) -> bool:
    """Tell whether JSON can hold a value: no sets, bytes, complex or infinite numbers, and only text keys."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_json, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | bool | int)
