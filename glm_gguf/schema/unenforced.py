"""Which keyword of a schema no grammar enforces: the place a refusal names."""

from __future__ import annotations

from typing import Any

from glm_gguf.schema.normal_form import CHECKED_FORMATS
from glm_gguf.schema.patterns import is_regular
from glm_gguf.schema.walk import subschemas

UNSUPPORTED = (
    *("not", "if", "then", "else", "uniqueItems", "contains", "minContains", "maxContains", "propertyNames"),
    *("dependentRequired", "dependentSchemas", "dependencies", "unevaluatedItems", "unevaluatedProperties"),
    *("$dynamicRef", "$recursiveRef", "oneOf", "minProperties", "maxProperties", "patternProperties"),
)
"""Keywords that llguidance 1.9 refuses always or where it cannot prove a form of its own; likeliest first."""


def first_unenforced(schema: dict[str, Any], where: str) -> str:
    """Return the path of the keyword that most probably is left to the check; the schema's own where none is known."""
    for path, node in subschemas(schema, where):
        for keyword in UNSUPPORTED:
            if keyword in node:
                return f"{path}/{keyword}"
        if "pattern" in node and not is_regular(node["pattern"]):
            return f"{path}/pattern"
        if node.get("format") in CHECKED_FORMATS:
            return f"{path}/format"
        if not str(node.get("$ref", "#")).startswith("#"):
            return f"{path}/$ref"
    return where
