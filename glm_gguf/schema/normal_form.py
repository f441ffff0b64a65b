"""A schema written so that the grammar compiler understands more of it, with the meaning kept."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from glm_gguf.schema.ecma_regex import normal_pattern
from glm_gguf.schema.formats import CHECKED, IN_GRAMMARS, PATTERNS
from glm_gguf.schema.patterns import without_leading_assertions
from glm_gguf.schema.walk import MANY, NAMED, ONE, Schema, rewrite, subschemas

ANNOTATIONS = frozenset(
    ("title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "$comment")
)
TYPES = frozenset(("null", "boolean", "object", "array", "number", "string", "integer"))
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_TEXTS = ("pattern", "format", "$anchor", "$dynamicAnchor")
_ADDRESSES = ("$ref", "$id", "id")


def normal_form(schema: Schema) -> Schema:
    """Return a schema of the same meaning without annotations, old spellings and malformed keywords."""
    result = rewrite(schema, _normal)
    return result if isinstance(result, dict | bool) else True


def well_formed(schema: Schema) -> Schema:
    """Return a schema without the keywords whose value no schema may have; what is left can be checked."""
    result = rewrite(schema, _well_formed)
    return result if isinstance(result, dict | bool) else True


def first_malformed(schema: Schema, where: str) -> str | None:
    """Return the path of the first keyword whose value no schema may have, so that it or a part of it says nothing."""
    for path, node in subschemas(schema, where):
        for key, value in node.items():
            if value is not None and _repaired(key, value) != value and not _is_draft_3(key, value):
                return f"{path}/{key}"
    return None


def _is_draft_3(key: str, value: Any) -> bool:
    """Tell a spelling of the first drafts, which restricts nothing: a property that is `required`, any type."""
    return (key == "required" and isinstance(value, bool)) or (key == "type" and value in ("any", ["any"]))


def _normal(node: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in _well_formed(node).items() if key not in ANNOTATIONS}
    kept = _modern_items(_modern_bounds(kept))
    for keyword, neutral in (("uniqueItems", False), ("minItems", 0), ("minLength", 0), ("minProperties", 0)):
        if keyword in kept and kept[keyword] == neutral:
            del kept[keyword]
    if kept.get("minProperties", 2) <= len(set(kept.get("required", ()))):
        kept.pop("minProperties", None)
    return _tidy_any_of(_with_normal_patterns(kept))


def _modern_bounds(node: dict[str, Any]) -> dict[str, Any]:
    """Turn draft 4's `minimum: 3, exclusiveMinimum: true` into `exclusiveMinimum: 3`."""
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(node.get(exclusive), bool):
            strict = node.pop(exclusive)
            if strict and bound in node:
                node[exclusive] = node.pop(bound)
    return node


def _modern_items(node: dict[str, Any]) -> dict[str, Any]:
    """Turn a list of `items`, as drafts before 2020-12 have it, into `prefixItems`."""
    rest = node.pop("additionalItems", None)
    if isinstance(node.get("items"), list):
        node["prefixItems"] = node.pop("items")
        if rest is not None:
            node["items"] = rest
    return node


def _with_normal_patterns(node: dict[str, Any]) -> dict[str, Any]:
    """Write patterns as the grammar compiler reads them, and formats as patterns where it does not know them."""
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
        return value if _is_bound(key, value) else None
    if key in _COUNTS:
        whole = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and value == int(value)
        return int(value) if whole else None
    if key in _TEXTS:
        return value if isinstance(value, str) else None
    if key in _ADDRESSES:
        return value if isinstance(value, str) and _is_address(value) else None
    if key == "enum":
        return value if isinstance(value, list) else None
    if key in ONE | MANY | NAMED:
        return _repaired_schemas(key, value)
    return value


def _is_bound(key: str, value: Any) -> bool:
    """Tell a number that may limit others; draft 4 has Booleans for exclusive bounds."""
    if isinstance(value, bool):
        return key.startswith("exclusive")
    return isinstance(value, int | float) and (key != "multipleOf" or value > 0)


def _is_address(text: str) -> bool:
    try:
        urlsplit(text)
    except ValueError:
        return False
    return True


def _repaired_schemas(key: str, value: Any) -> Any:
    """Return the schemas of a keyword; in a list or under a name what is none allows anything."""
    if key in NAMED:
        kinds = dict | bool | list if key == "dependencies" else dict | bool
        if not isinstance(value, dict):
            return None
        return {name: schema if isinstance(schema, kinds) else {} for name, schema in value.items()}
    if key in MANY and isinstance(value, list):
        schemas = [schema if isinstance(schema, dict | bool) else {} for schema in value]
        return schemas if schemas or key == "items" else None
    return value if key in ONE and isinstance(value, dict | bool) else None


def _types(value: Any) -> Any:
    """Return type names that exist; None where `any` or nothing known is among them."""
    if isinstance(value, str):
        return value if value in TYPES else None
    if isinstance(value, list) and value and all(isinstance(name, str) and name in TYPES for name in value):
        return value
    return None
