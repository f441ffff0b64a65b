"""Keywords that llguidance's grammars do not enforce: left out until a schema compiles, and named in errors.

Every step only widens a schema: a dropped keyword allows more values, unless it stands under `not` or `if`, which
llguidance ignores. A property's declaration stays while `additionalProperties` could refuse the property without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from glm_gguf.schema.formats import CHECKED
from glm_gguf.schema.pattern_search import is_regular, without_assertions
from glm_gguf.schema.references import SelfContained
from glm_gguf.schema.walk import Place, Schema, rewrite, subschemas

Change = Callable[[dict[str, Any]], Any]

UNENFORCED: Final = (
    *("not", "if", "then", "else", "uniqueItems", "contains", "minContains", "maxContains", "propertyNames"),
    *("dependentRequired", "dependentSchemas", "dependencies", "unevaluatedItems", "unevaluatedProperties"),
    *("$dynamicRef", "$recursiveRef", "oneOf", "minProperties", "maxProperties", "patternProperties"),
)
"""Keywords that llguidance 1.9 refuses always, or unless it can prove a form of its own; likeliest first."""


def first_unenforced(contained: SelfContained, normal: dict[str, Any]) -> str:
    """Return the path of the keyword that the grammar most likely leaves to the check; empty if none is known.

    `normal` is the normal form of `contained`.
    """
    for place, node in subschemas(normal, Place("")):
        for keyword in UNENFORCED:
            if keyword in node:
                return _original(contained, f"{place}/{keyword}")
        if "pattern" in node and not is_regular(node["pattern"]):
            return _original(contained, f"{place}/pattern")
        if node.get("format") in CHECKED:
            return _original(contained, f"{place}/format")
    return ""


def _original(contained: SelfContained, path: str) -> str:
    """Return a path in the user's schema, for one that may begin in a definition of the self-contained schema."""
    _, mark, inner = path.partition("/$defs/")
    name, _, rest = inner.partition("/")
    return f"{contained.origins[name]}/{rest}" if mark and name in contained.origins else path


def looser(schema: Schema) -> Iterator[Schema]:
    """Yield ever wider forms of a schema; the last allows every value of the outermost type."""
    for step in STEPS:
        schema = rewrite(schema, step)
        yield schema
    yield {"type": schema["type"]} if isinstance(schema, dict) and "type" in schema else {}


def _without_counts(node: dict[str, Any]) -> dict[str, Any]:
    """Leave out counts of properties if some are optional: llguidance counts only the others."""
    optional = set(node.get("properties", ())) - set(node.get("required", ()))
    return _without(node, "minProperties", "maxProperties") if optional else node


def _without_hard_parts(node: dict[str, Any]) -> dict[str, Any]:
    """Leave out patterns with look-around, and references that depend on the value."""
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
    """Leave out patternProperties, and additionalProperties, which would refuse the names they allow."""
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
"""The steps, the smallest loss first."""
