"""Whether a value fits a schema, told from the simple keywords alone: True, False, or None for unknown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any, Final

from glm_gguf.errors import RequestError
from glm_gguf.schema.pattern_search import compiled_search
from glm_gguf.schema.walk import Schema

Verdict = bool | None

MOST_DEPTH = 8
"""Levels of schemas that are checked."""


def kind_of(value: Any) -> str:
    """Return the JSON type of a value; whole numbers are numbers."""
    if value is None:
        return "null"
    kinds: tuple[tuple[type, str], ...] = ((bool, "boolean"), (str, "string"), (list, "array"), (dict, "object"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "number")


def fits(value: Any, schema: Schema, depth: int = 0) -> Verdict:
    """Tell whether a value fits a schema in normal form; None if a keyword would have to be checked in full."""
    if isinstance(schema, bool):
        return schema
    if depth > MOST_DEPTH:
        return None
    return every(_fits_keyword(value, key, given, schema, depth) for key, given in schema.items() if key not in _SAYING)


def every(verdicts: Iterable[Verdict]) -> Verdict:
    """Return False if one verdict is False, else None if one is None, else True."""
    result: Verdict = True
    for verdict in verdicts:
        if verdict is False:
            return False
        result = result and verdict
    return result


def _fits_keyword(value: Any, key: str, given: Any, schema: dict[str, Any], depth: int) -> Verdict:
    simple = _SIMPLE.get(key)
    if simple is not None:
        return simple(value, given)
    if key == "allOf":
        return every(fits(value, part, depth + 1) for part in given)
    if key == "anyOf":
        return _opposite(every(_opposite(fits(value, part, depth + 1)) for part in given))
    if key == "not":
        return _opposite(fits(value, given, depth + 1))
    if key == "properties" and isinstance(value, dict):
        return every(fits(value[name], part, depth + 1) for name, part in given.items() if name in value)
    if key == "items" and isinstance(value, list) and "prefixItems" not in schema:
        return every(fits(item, given, depth + 1) for item in value)
    about = _ABOUT.get(key)
    return True if about is not None and kind_of(value) != about else None


def _opposite(verdict: Verdict) -> Verdict:
    return None if verdict is None else not verdict


def is_same(one: Any, other: Any) -> Verdict:
    """Tell whether two values are equal in JSON, in which true is not 1."""
    if one != other:
        return False
    if isinstance(one, list | dict):
        return True if json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True) else None
    return isinstance(one, bool) == isinstance(other, bool)


def _among(value: Any, values: list[Any]) -> Verdict:
    verdicts = [is_same(value, other) for other in values]
    return True if True in verdicts else None if None in verdicts else False


def _has_type(value: Any, names: Any) -> Verdict:
    kind = kind_of(value)
    whole = kind == "number" and value == value // 1
    listed = names if isinstance(names, list) else [names]
    return kind in listed or (whole and "integer" in listed)


def _matches(value: Any, pattern: str) -> Verdict:
    if not isinstance(value, str):
        return True
    try:
        return compiled_search(pattern)(value)
    except RequestError:
        return None


def _about(kind: str, test: Callable[[Any, Any], Verdict]) -> Callable[[Any, Any], Verdict]:
    """Return a test that values of other types pass."""
    return lambda value, given: kind_of(value) != kind or test(value, given)


_SAYING: Final = frozenset(("$defs", "$anchor", "$dynamicAnchor", "$schema"))
"""Keywords that restrict nothing by themselves."""
_SIMPLE: Final[dict[str, Callable[[Any, Any], Verdict]]] = {
    "type": _has_type,
    "enum": _among,
    "const": lambda value, given: is_same(value, given),
    "pattern": _matches,
    "minimum": _about("number", lambda value, given: value >= given),
    "maximum": _about("number", lambda value, given: value <= given),
    "exclusiveMinimum": _about("number", lambda value, given: value > given),
    "exclusiveMaximum": _about("number", lambda value, given: value < given),
    "multipleOf": _about("number", lambda value, given: Fraction(repr(value)) % Fraction(repr(given)) == 0),
    "minLength": _about("string", lambda value, given: len(value) >= given),
    "maxLength": _about("string", lambda value, given: len(value) <= given),
    "minItems": _about("array", lambda value, given: len(value) >= given),
    "maxItems": _about("array", lambda value, given: len(value) <= given),
    "minProperties": _about("object", lambda value, given: len(value) >= given),
    "maxProperties": _about("object", lambda value, given: len(value) <= given),
    "required": _about("object", lambda value, given: all(name in value for name in given)),
}
_ABOUT: Final = {
    "format": "string",
    **dict.fromkeys(("items", "prefixItems", "contains", "minContains", "maxContains", "uniqueItems"), "array"),
    "unevaluatedItems": "array",
    **dict.fromkeys(("properties", "patternProperties", "additionalProperties", "propertyNames"), "object"),
    **dict.fromkeys(("dependencies", "dependentRequired", "dependentSchemas", "unevaluatedProperties"), "object"),
}
"""The one type that a keyword restricts."""
