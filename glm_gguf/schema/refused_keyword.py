"""Which keyword of a schema no grammar enforces: the place a refusal names."""

from __future__ import annotations

from typing import Any

from glm_gguf.schema.formats import CHECKED
from glm_gguf.schema.patterns import is_regular
from glm_gguf.schema.references import SelfContained
from glm_gguf.schema.walk import Place, subschemas

UNSUPPORTED = (
    *("not", "if", "then", "else", "uniqueItems", "contains", "minContains", "maxContains", "propertyNames"),
    *("dependentRequired", "dependentSchemas", "dependencies", "unevaluatedItems", "unevaluatedProperties"),
    *("$dynamicRef", "$recursiveRef", "oneOf", "minProperties", "maxProperties", "patternProperties"),
)
"""Keywords that llguidance 1.9 refuses always or where it cannot prove a form of its own; likeliest first."""


def first_unenforced(contained: SelfContained, normal: dict[str, Any]) -> str:
    """Return the path of the keyword that most probably is left to the check; an empty one where none is known."""
    for path, node in subschemas(normal, Place("")):
        for keyword in UNSUPPORTED:
            if keyword in node:
                return _original(contained, f"{path}/{keyword}")
        if "pattern" in node and not is_regular(node["pattern"]):
            return _original(contained, f"{path}/pattern")
        if node.get("format") in CHECKED:
            return _original(contained, f"{path}/format")
    return ""


def _original(contained: SelfContained, path: str) -> str:
    """Return where in the user's schema a path stands, which may begin in a definition that was moved."""
    _, mark, inner = path.partition("/$defs/")
    name, _, rest = inner.partition("/")
    return f"{contained.origins[name]}/{rest}" if mark and name in contained.origins else path
