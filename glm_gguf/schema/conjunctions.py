"""Patterns that one text must meet together: llguidance intersects them in time that doubles with each."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

from glm_gguf.schema.walk import Place, Schema, rewrite, subschemas

MOST_TOGETHER: Final = 8
"""Patterns of one text: beyond ten llguidance 1.9 gives up, after seconds for 20 and hours for 30."""
MOST_STEPS: Final = 50
"""References and conjunctions in each other that are followed."""
_CONJUNCTION: Final = re.compile(r"(/allOf/\d+)+")


def without_crowded_patterns(schema: Schema) -> Schema:
    """Leave out all patterns where too many may have to be met by one text."""
    return rewrite(schema, _without_pattern) if isinstance(schema, dict) and _is_crowded(schema) else schema


def _without_pattern(node: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in node.items() if key != "pattern"}


def _is_crowded(schema: dict[str, Any]) -> bool:
    """Count the patterns of each place, the branches of a conjunction being one place."""
    known: dict[str, int] = {}
    together: Counter[str] = Counter()
    for place, node in subschemas(schema, Place("")):
        if "pattern" in node or "$ref" in node:
            own = {key: node[key] for key in ("pattern", "$ref") if key in node}
            together[_CONJUNCTION.sub("", str(place))] += _patterns(own, schema.get("$defs", {}), known, 0)
    return max(together.values(), default=0) > MOST_TOGETHER


def _patterns(node: object, definitions: dict[str, Any], known: dict[str, int], steps: int) -> int:
    """Count the patterns that a text must meet at most, those of references among them."""
    if not isinstance(node, dict):
        return 0
    if steps > MOST_STEPS:
        return MOST_TOGETHER + 1
    name = str(node.get("$ref", "")).removeprefix("#/$defs/")
    if name in definitions and name not in known:
        known[name] = 0  # a circle adds nothing
        known[name] = _patterns(definitions[name], definitions, known, steps + 1)
    met = [_patterns(part, definitions, known, steps + 1) for part in node.get("allOf", ())]
    either = [
        _patterns(part, definitions, known, steps + 1) for key in ("anyOf", "oneOf") for part in node.get(key, ())
    ]
    return ("pattern" in node) + known.get(name, 0) + sum(met) + max(either, default=0)
