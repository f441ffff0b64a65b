"""Schemas that allow more: what a grammar cannot express is left out, step by step.

Every step only widens. Leaving a keyword out widens a schema unless it stands under `not` or `if`, which grammars
leave out themselves. A property's declaration is never dropped while `additionalProperties` might then refuse it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from glm_gguf.schema.patterns import is_regular, without_assertions
from glm_gguf.schema.walk import Schema, rewrite

Change = Callable[[dict[str, Any]], Any]


def looser(schema: Schema) -> Iterator[Schema]:
    """Yield ever looser forms of a schema; the last allows any value of the outermost type."""
    for step in STEPS:
        schema = rewrite(schema, step)
        yield schema
    yield {"type": schema["type"]} if isinstance(schema, dict) and "type" in schema else {}


def _without_counts(node: dict[str, Any]) -> dict[str, Any]:
    """Leave out counts of properties, some of which are optional: the grammar compiler would count the others alone."""
    optional = set(node.get("properties", ())) - set(node.get("required", ()))
    return _without(node, "minProperties", "maxProperties") if optional else node


def _without_hard_parts(node: dict[str, Any]) -> dict[str, Any]:
    """Leave out patterns with look-around, and references that are found while a value is checked."""
    kept = dict(node)
    if "pattern" in kept and not is_regular(kept["pattern"]):
        kept["pattern"] = without_assertions(kept["pattern"])
        if not is_regular(kept["pattern"]):
            del kept["pattern"]
    for keyword in ("$dynamicRef", "$recursiveRef"):
        kept.pop(keyword, None)
    if not all(map(is_regular, kept.get("patternProperties", ()))):
        kept = _open(kept)
    return kept


def _without_overlaps(node: dict[str, Any]) -> dict[str, Any]:
    return _open(node) if "patternProperties" in node else node


def _open(node: dict[str, Any]) -> dict[str, Any]:
    """Leave out patternProperties, and additionalProperties, which would refuse what they allowed."""
    return _without(node, "patternProperties", "additionalProperties", "unevaluatedProperties")


def _without_bounds(node: dict[str, Any]) -> dict[str, Any]:
    counts = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
    numbers = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
    return _without(node, "pattern", "format", *counts, *numbers)


def _without_conjunctions(node: dict[str, Any]) -> dict[str, Any]:
    return _without(node, "allOf")


def _without_references(node: dict[str, Any]) -> dict[str, Any]:
    kept = _without(node, "$ref")
    return _without(kept, "anyOf", "oneOf") if "properties" in kept else kept


def _without(node: dict[str, Any], *keywords: str) -> dict[str, Any]:
    return node if node.keys().isdisjoint(keywords) else {key: node[key] for key in node if key not in keywords}


STEPS: Final[tuple[Change, ...]] = (
    _without_counts,
    _without_hard_parts,
    _without_overlaps,
    _without_bounds,
    _without_conjunctions,
    _without_references,
)
"""What is given up, the least first."""
