"""Patterns left out of a schema where one text would have to match too many for llguidance."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

from glm_gguf.schema.walk import Place, Schema, rewrite, subschemas

MOST_PATTERNS: Final = 8
"""Patterns of one text; llguidance 1.9 intersects them in time that doubles with each: seconds for 20, hours for 30."""
MOST_STEPS: Final = 50
"""Levels of references and conjunctions that are followed."""
_CONJUNCTION: Final = re.compile(r"(/allOf/\d+)+")


def without_crowded_patterns(schema: Schema) -> Schema:
    """Leave out all patterns if one text may have to match too many; else return the same object."""
    return rewrite(schema, _without_pattern) if isinstance(schema, dict) and _is_crowded(schema) else schema


def _without_pattern(node: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in node.items() if key != "pattern"}


def _is_crowded(schema: dict[str, Any]) -> bool:
    """Tell whether one place has too many patterns; the branches of a conjunction are one place."""
    known: dict[str, int] = {}
    together: Counter[str] = Counter()
    for place, node in subschemas(schema, Place("")):
        if "pattern" in node or "$ref" in node:
            own = {key: node[key] for key in ("pattern", "$ref") if key in node}
            together[_CONJUNCTION.sub("", str(place))] += _patterns(own, schema.get("$defs", {}), known, 0)
    return max(together.values(), default=0) > MOST_PATTERNS


def _patterns(node: object, definitions: dict[str, Any], known: dict[str, int], steps: int) -> int:
    """Count the patterns that a text must match at most, those behind references included."""
    if not isinstance(node, dict):
        return 0
    if steps > MOST_STEPS:
        return MOST_PATTERNS + 1
    name = str(node.get("$ref", "")).removeprefix("#/$defs/")
    if name in definitions and name not in known:
        known[name] = 0  # a circle adds nothing
        known[name] = _patterns(definitions[name], definitions, known, steps + 1)
    met = [_patterns(part, definitions, known, steps + 1) for part in node.get("allOf", ())]
    either = [
        _patterns(part, definitions, known, steps + 1) for key in ("anyOf", "oneOf") for part in node.get(key, ())
    ]
    return ("pattern" in node) + known.get(name, 0) + sum(met) + max(either, default=0)
