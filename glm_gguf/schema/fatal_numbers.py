"""Numbers left out of a schema because llguidance would end the process with them."""

from __future__ import annotations

import re
from typing import Any, Final

from glm_gguf.schema.walk import Schema, rewrite, subschemas

LOWEST: Final = -9.2e18
"""llguidance 1.9 negates integers of 64 bits without an end where one rounds to -2**63, the lowest there is."""
_KEYWORDS: Final = ("const", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_NEGATIVE: Final = re.compile(r"-[0-9]+(?:\.[0-9]+)?(?:[eE]\+?[0-9]+)?")
_DIGITS: Final = 30
"""Digits of a number that is fatal whatever it is, so that nobody parses thousands of them."""


def without_fatal_numbers(schema: Schema) -> Schema:
    """Leave out values and bounds that hold such a number; return the same object if there are none."""
    if not isinstance(schema, dict) or not any(_fatal_keys(node) for _, node in subschemas(schema)):
        return schema
    left: Schema = rewrite(schema, _without)
    return left


def names_fatal_number(grammar: str) -> bool:
    """Tell whether a schema in a grammar of llguidance's Lark may hold such a number."""
    return "%json" in grammar and any(len(one) > _DIGITS or float(one) <= LOWEST for one in _NEGATIVE.findall(grammar))


def _without(node: dict[str, Any]) -> dict[str, Any]:
    fatal = _fatal_keys(node)
    return {key: value for key, value in node.items() if key not in fatal} if fatal else node


def _fatal_keys(node: dict[str, Any]) -> list[str]:
    return [key for key in _KEYWORDS if key in node and _holds_fatal(node[key])]


def _holds_fatal(value: object) -> bool:
    """Look into lists and objects too."""
    left = [value]
    while left:
        match left.pop():
            case bool():
                continue
            case int() | float() as number:
                if number <= LOWEST:
                    return True
            case list() as items:
                left += items
            case dict() as members:
                left += members.values()
    return False
