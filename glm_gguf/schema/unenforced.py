"""Which keyword of a schema no grammar enforces: the place a refusal names."""

from __future__ import annotations

from typing import Any

from glm_gguf.schema.formats import CHECKED
from glm_gguf.schema.patterns import is_regular, is_sound
from glm_gguf.schema.references import SelfContained
from glm_gguf.schema.walk import Schema, subschemas

UNSUPPORTED = (
    *("not", "if", "then", "else", "uniqueItems", "contains", "minContains", "maxContains", "propertyNames"),
    *("dependentRequired", "dependentSchemas", "dependencies", "unevaluatedItems", "unevaluatedProperties"),
    *("$dynamicRef", "$recursiveRef", "oneOf", "minProperties", "maxProperties", "patternProperties"),
)
"""Keywords that llguidance 1.9 refuses always or where it cannot prove a form of its own; likeliest first."""


def first_unenforced(contained: SelfContained, normal: dict[str, Any], where: str) -> str:
    """Return the path of the keyword that most probably is left to the check; the schema's own where none is known."""
    for path, node in subschemas(normal, ""):
        for keyword in UNSUPPORTED:
            if keyword in node:
                return original_path(contained, f"{path}/{keyword}", where)
        if "pattern" in node and not is_regular(node["pattern"]):
            return original_path(contained, f"{path}/pattern", where)
        if node.get("format") in CHECKED:
            return original_path(contained, f"{path}/format", where)
    return where


def original_path(contained: SelfContained, path: str, where: str) -> str:
    """Return where in the user's schema a path stands, which may begin in a definition that was moved."""
    _, mark, inner = path.partition("/$defs/")
    name, _, rest = inner.partition("/")
    return f"{where}{contained.origins[name]}/{rest}" if mark and name in contained.origins else where + path


def first_unsound(schema: Schema, where: str) -> str | None:
    """Return the path of the first pattern that is no regular expression, and says nothing."""
    for path, node in subschemas(schema, where):
        named = node.get("patternProperties")
        if isinstance(node.get("pattern"), str) and not is_sound(node["pattern"]):
            return f"{path}/pattern"
        if isinstance(named, dict) and not all(map(is_sound, named)):
            return f"{path}/patternProperties"
    return None
