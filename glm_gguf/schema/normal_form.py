"""A schema of the same meaning, written so that llguidance enforces more of it."""

from __future__ import annotations

from typing import Any

from glm_gguf.schema.ecma_regex import normal_pattern
from glm_gguf.schema.formats import CHECKED, IN_GRAMMARS, PATTERNS
from glm_gguf.schema.pattern_search import without_leading_assertions
from glm_gguf.schema.walk import Schema, rewrite

ANNOTATIONS = frozenset(
    ("title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "$comment")
)
DEMANDS = ("dependentRequired", "dependentSchemas", "dependencies")
"""Keywords by which one property demands others."""
MOST_NAMES = 500
"""Keys of a record that are written into one pattern; more are checked."""
SYNTAX = frozenset("\\.+*?()|[]{}^$")
_TEXTS = ("type", "string")
"""All names are texts."""
MOST_CHOICES = 4
"""Demands of one object that are written as choices: each doubles the forms in a grammar."""


def normal_form(schema: Schema) -> Schema:
    """Return a well-formed schema without annotations and old spellings; its meaning stays."""
    result = rewrite(schema, _normal)
    return result if isinstance(result, dict | bool) else True


def _normal(node: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in node.items() if key not in ANNOTATIONS}
    kept = _named_properties(_modern_items(_modern_bounds(kept)))
    for keyword, neutral in (("uniqueItems", False), ("minItems", 0), ("minLength", 0), ("minProperties", 0)):
        if keyword in kept and kept[keyword] == neutral:
            del kept[keyword]
    if kept.get("propertyNames") in (True, {}, {"type": "string"}):  # zod writes records so; every name is a text
        del kept["propertyNames"]
    if kept.get("minProperties", 2) <= len(set(kept.get("required", ()))):
        kept.pop("minProperties", None)
    return _tidy_any_of(_with_normal_patterns(_with_choices(kept)))


def _with_choices(node: dict[str, Any]) -> dict[str, Any]:
    """Write "with an `a`, this holds" as a choice, which grammars know: there is no `a`, or this holds."""
    demands = [(name, demand) for keyword in DEMANDS for name, demand in node.get(keyword, {}).items()]
    if not 0 < len(demands) <= MOST_CHOICES:
        return node
    kept = {key: value for key, value in node.items() if key not in DEMANDS}
    for name, demand in demands:
        first: dict[str, Any] = {"properties": {name: {}}}  # `name` is written before what it demands
        held = {**first, "required": demand} if isinstance(demand, list) else {"allOf": [first, demand]}
        choice = held if name in node.get("required", ()) else {"anyOf": [{"properties": {name: False}}, held]}
        kept["allOf"] = [*kept.get("allOf", ()), choice]
    return kept


def _named_properties(node: dict[str, Any]) -> dict[str, Any]:
    """Write a record, whose keys are of a list or a pattern, as properties, which grammars know."""
    names = {key: value for key, value in _object(node.get("propertyNames")).items() if (key, value) != _TEXTS}
    if len(names) != 1 or "additionalProperties" not in node or "patternProperties" in node:
        return node
    (keyword, value), rest = *names.items(), node["additionalProperties"]
    properties = node.get("properties", {})
    if keyword in ("enum", "const"):
        allowed = [name for name in (value if keyword == "enum" else [value]) if isinstance(name, str)]
        others = [name for name in allowed if name not in properties]
        if len(others) > MOST_NAMES:
            return node
        found = {name: schema if name in allowed else False for name, schema in properties.items()}
        patterns = {f"^({'|'.join(map(_quoted, others))})$": rest} if others else {}
    elif keyword == "pattern" and not properties:
        found, patterns = {}, {value: rest}
    else:
        return node
    kept = {key: value for key, value in node.items() if key not in ("propertyNames", "properties")}
    made = {"properties": found, "patternProperties": patterns}
    return {**kept, **{key: value for key, value in made.items() if value}, "additionalProperties": False}


def _quoted(name: str) -> str:
    """Write a name as a regular expression, in ECMAScript's and Rust's syntax alike."""
    return "".join(f"\\{letter}" if letter in SYNTAX else letter for letter in name)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _modern_bounds(node: dict[str, Any]) -> dict[str, Any]:
    """Turn draft 4's `minimum: 3, exclusiveMinimum: true` into `exclusiveMinimum: 3`."""
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(node.get(exclusive), bool):
            strict = node.pop(exclusive)
            if strict and bound in node:
                node[exclusive] = node.pop(bound)
    return node


def _modern_items(node: dict[str, Any]) -> dict[str, Any]:
    """Turn a list of `items`, a form of drafts before 2020-12, into `prefixItems`."""
    rest = node.pop("additionalItems", None)
    if isinstance(node.get("items"), list):
        node["prefixItems"] = node.pop("items")
        if rest is not None:
            node["items"] = rest
    return node


def _with_normal_patterns(node: dict[str, Any]) -> dict[str, Any]:
    """Write patterns in llguidance's syntax, and formats that it does not know as patterns."""
    patterns = []
    if "pattern" in node:
        patterns += without_leading_assertions(normal_pattern(node.pop("pattern")))
    name = node.get("format")
    if name in PATTERNS:
        patterns.append(PATTERNS[name])
    if name not in IN_GRAMMARS | CHECKED:
        node.pop("format", None)
    if patterns:
        node["pattern"] = patterns.pop(0)
    if patterns:
        node["allOf"] = [*node.get("allOf", ()), *({"pattern": pattern} for pattern in patterns)]
    named = node.get("patternProperties", {})
    normal = {normal_pattern(pattern): schema for pattern, schema in named.items()}
    return {**node, "patternProperties": normal} if len(normal) == len(named) > 0 else node


def _tidy_any_of(node: dict[str, Any]) -> dict[str, Any]:
    """Unwrap a choice of one."""
    for keyword in ("anyOf", "oneOf", "allOf"):
        if len(node) == 1 and isinstance(node.get(keyword), list) and len(node[keyword]) == 1:
            (only,) = node[keyword]
            return only if isinstance(only, dict) else node
    return node
