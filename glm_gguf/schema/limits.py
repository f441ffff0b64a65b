"""What a schema may cost: size and depth are looked at before anything is built from it."""

from __future__ import annotations

import re
from math import isfinite
from typing import Any, NoReturn

from glm_gguf.errors import RequestError
from glm_gguf.schema.ecma_regex import unfolded_length
from glm_gguf.schema.walk import Place, subschemas

MOST_CHARACTERS = 2_000_000
MOST_DEPTH = 96  # levels of lists and objects; the largest published schemas stay below 40
MOST_DECLARED = 60_000  # schemas in one, used or not; Renovate's has 20,000
MOST_USED = 20_000  # those that references lead to; Vega-Lite's has 8,000
MOST_NAMES = 5_000  # of one object; far above, llguidance runs out of stack
MOST_CHOICES = 20_000
MOST_REPEATS = 100_000
MOST_PATTERN = 10_000
SIMPLER = "give a simpler schema"


def require_modest(schema: object, where: str) -> None:
    """Raise RequestError for a schema that is too deep or too large to be built."""
    characters = _measure(schema, where)
    if characters > MOST_CHARACTERS:
        raise RequestError(f"a schema of more than {MOST_CHARACTERS} characters", field=where, fix=SIMPLER)
    for number, (path, node) in enumerate(subschemas(schema, where)):
        if number == MOST_DECLARED:
            refuse_many(MOST_DECLARED, where)
        _require_modest_node(node, path)


def refuse_many(most: int, where: str) -> NoReturn:
    """Raise RequestError for a schema that consists of more than `most`."""
    raise RequestError(f"more than {most} schemas in one", field=where, fix=SIMPLER)


def _measure(schema: object, where: str) -> int:
    """Count about how many characters a schema has, and refuse one that is too deep or no JSON."""
    total, level, waiting = 0, 0, [schema]
    while waiting and total <= MOST_CHARACTERS:
        if level > MOST_DEPTH:
            raise RequestError(f"a schema of more than {MOST_DEPTH} levels", field=where, fix=SIMPLER)
        below: list[object] = []
        for value in waiting:
            total += _characters(value, below, where)
        waiting = below
        level += 1
    return total


def _characters(value: object, below: list[object], where: str) -> int:
    """Count the characters of one value, and gather what lies in it."""
    if isinstance(value, dict):
        if not all(isinstance(key, str) and _is_unicode(key) for key in value):
            raise RequestError("a key that is no text", field=where)
        below += value.values()
        return sum(map(len, value)) + 4 * len(value)
    if isinstance(value, list | tuple):
        below += value
        return 2 * len(value)
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and isfinite(value)):
        return 5
    if not isinstance(value, str) or not _is_unicode(value):
        raise RequestError(f"{type(value).__name__} is no JSON", field=where)
    return len(value)


def _is_unicode(text: str) -> bool:
    """Tell whether a text can be written: JSON may escape half a surrogate pair."""
    return text.isascii() or re.search("[\ud800-\udfff]", text) is None


def _require_modest_node(node: dict[str, Any], path: Place) -> None:
    choices = node.get("enum")
    if isinstance(choices, list) and len(choices) > MOST_CHOICES:
        raise RequestError(f"{len(choices)} choices", field=f"{path}/enum", fix=f"give up to {MOST_CHOICES}")
    for keyword in ("properties", "required", "anyOf", "oneOf", "allOf", "patternProperties"):
        parts = node.get(keyword)
        if isinstance(parts, list | dict) and len(parts) > MOST_NAMES:
            raise RequestError(f"{len(parts)} of them", field=f"{path}/{keyword}", fix=f"give up to {MOST_NAMES}")
    for keyword in ("minLength", "minItems", "minProperties"):
        count = node.get(keyword)
        if isinstance(count, int | float) and count > MOST_REPEATS:
            raise RequestError(f"at least {count}", field=f"{path}/{keyword}", fix=f"ask for up to {MOST_REPEATS}")
    pattern = node.get("pattern")
    patterns = [pattern] if isinstance(pattern, str) else []
    named = node.get("patternProperties")
    for text in [*patterns, *(named if isinstance(named, dict) else ())]:
        if len(text) > MOST_PATTERN or unfolded_length(text) > MOST_REPEATS:
            raise RequestError("a pattern that is too large", field=str(path), fix="give a shorter pattern")
