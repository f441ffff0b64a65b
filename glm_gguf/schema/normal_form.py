"""A schema written so that the grammar compiler understands more of it, with the meaning kept."""

from __future__ import annotations

from typing import Any

from glm_gguf.schema.walk import Schema, rewrite

ANNOTATIONS = frozenset(
    ("title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "$comment")
)
TYPES = frozenset(("null", "boolean", "object", "array", "number", "string", "integer"))
ENFORCED_FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri")
)
"""Formats that llguidance's grammars enforce (docs/json_schema.md of that project)."""
CHECKED_FORMATS = frozenset(("regex", "idn-email", "json-pointer", "relative-json-pointer", "iri", "uri-reference"))
"""Formats that the check of the finished value may know; all others are annotations, as the standard has it."""
OLD_DRAFTS = ("draft-03", "draft-04", "draft-06", "draft-07")
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_LISTS = ("enum", "allOf", "anyOf", "oneOf", "prefixItems")
_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependentRequired")


def normal_form(schema: Schema) -> Schema:
    """Return a schema of the same meaning without annotations, old spellings and malformed keywords."""
    old = isinstance(schema, dict) and any(draft in str(schema.get("$schema")) for draft in OLD_DRAFTS)
    result = rewrite(schema, _normal_old if old else _normal)
    return result if isinstance(result, dict | bool) else True


def well_formed(schema: Schema) -> Schema:
    """Return a schema without the keywords whose value no schema may have; what is left can be checked."""
    result = rewrite(schema, _well_formed)
    return result if isinstance(result, dict | bool) else True


def _normal_old(node: dict[str, Any]) -> dict[str, Any]:
    """Before 2019-09 nothing beside a reference counted."""
    if "$ref" in node and isinstance(node["$ref"], str):
        node = {key: value for key, value in node.items() if key in ("$ref", "$id", "$schema", "definitions", "$defs")}
    return _normal(node)


def _normal(node: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in _well_formed(node).items() if key not in ANNOTATIONS}
    kept = _modern_bounds(kept)
    if kept.get("format") not in ENFORCED_FORMATS | CHECKED_FORMATS:
        kept.pop("format", None)
    for keyword, neutral in (("uniqueItems", False), ("minItems", 0), ("minLength", 0), ("minProperties", 0)):
        if keyword in kept and kept[keyword] == neutral:
            del kept[keyword]
    if kept.get("minProperties", 2) <= len(set(kept.get("required", ()))):
        kept.pop("minProperties", None)
    if "additionalItems" in kept and not isinstance(kept.get("items"), list):
        del kept["additionalItems"]
    return _tidy_any_of(kept)


def _modern_bounds(node: dict[str, Any]) -> dict[str, Any]:
    """Turn draft 4's `minimum: 3, exclusiveMinimum: true` into `exclusiveMinimum: 3`."""
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(node.get(exclusive), bool):
            strict = node.pop(exclusive)
            if strict and bound in node:
                node[exclusive] = node.pop(bound)
    return node


def _tidy_any_of(node: dict[str, Any]) -> dict[str, Any]:
    """Unwrap a choice of one."""
    for keyword in ("anyOf", "oneOf", "allOf"):
        if len(node) == 1 and isinstance(node.get(keyword), list) and len(node[keyword]) == 1:
            (only,) = node[keyword]
            return only if isinstance(only, dict) else node
    return node


def _well_formed(node: dict[str, Any]) -> dict[str, Any]:
    constant = {"const": node["const"]} if "const" in node else {}
    return constant | {
        key: value for key, value in ((key, _repaired(key, value)) for key, value in node.items()) if value is not None
    }


def _repaired(key: str, value: Any) -> Any:
    """Return a keyword's value, None where it is malformed and says nothing."""
    if value is None:
        return None
    if key == "type":
        return _types(value)
    if key == "required":
        return [name for name in value if isinstance(name, str)] if isinstance(value, list) else None
    if key in _NUMBERS:
        return value if isinstance(value, int | float) else None
    if key in _COUNTS:
        whole = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and value == int(value)
        return int(value) if whole else None
    if key in _LISTS:
        return value if isinstance(value, list) and (value or key == "enum") else None
    if key in _MAPS:
        return value if isinstance(value, dict) else None
    if key in ("pattern", "format", "$ref"):
        return value if isinstance(value, str) else None
    return value


def _types(value: Any) -> Any:
    """Return type names that exist; None where `any` or nothing known is among them."""
    if isinstance(value, str):
        return value if value in TYPES else None
    if isinstance(value, list) and value and all(isinstance(name, str) and name in TYPES for name in value):
        return value
    return None
