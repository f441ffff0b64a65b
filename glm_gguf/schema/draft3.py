"""Schemas of draft 3 in the words of draft 4, which grammars and checks know."""

from __future__ import annotations

from typing import Any, Final

from glm_gguf.schema.walk import Schema, rewrite

DRAFT_4: Final = "http://json-schema.org/draft-04/schema#"
_FORMATS: Final = {"host-name": "hostname", "ip-address": "ipv4", "time": "draft 3's time"}
"""Names that have changed; a time had no offset, so that it is none of today's."""


def modern(schema: Schema) -> Schema:
    """Return a schema of draft 3 as one of draft 4; depth is checked before."""
    result = rewrite(schema, _modern)
    return {**result, "$schema": DRAFT_4} if isinstance(result, dict) else schema


def _modern(node: dict[str, Any]) -> dict[str, Any]:
    """Rewrite one schema; those in it are already rewritten, but keep their Boolean `required` for this one to read."""
    kept = {key: value for key, value in node.items() if key not in ("extends", "disallow", "divisibleBy")}
    if "divisibleBy" in node:
        kept["multipleOf"] = node["divisibleBy"]
    if isinstance(kept.get("format"), str):
        kept["format"] = _FORMATS.get(kept["format"], kept["format"])
    if isinstance(kept.get("dependencies"), dict):
        kept["dependencies"] = {
            name: [needed] if isinstance(needed, str) else needed for name, needed in kept["dependencies"].items()
        }
    demands = [rewrite(base, _modern) for base in _listed(node.get("extends"))]
    if any(isinstance(name, dict) for name in _listed(kept.get("type"))):
        demands.append(_one_of(kept.pop("type")))
    if "disallow" in node:
        demands.append({"not": _one_of(node["disallow"])})
    if demands:
        kept["allOf"] = demands
    return _with_required(kept)


def _with_required(node: dict[str, Any]) -> dict[str, Any]:
    """Gather the names of the properties that say they are required."""
    properties = node.get("properties")
    if not isinstance(properties, dict):
        return node
    names = [name for name, part in properties.items() if isinstance(part, dict) and part.get("required") is True]
    bare = {
        name: {key: value for key, value in part.items() if key != "required" or not isinstance(value, bool)}
        if isinstance(part, dict)
        else part
        for name, part in properties.items()
    }
    return {**node, "properties": bare} | ({"required": names} if names else {})


def _one_of(types: Any) -> dict[str, Any]:
    """Return the schema of a choice of type names and schemas."""
    return {
        "anyOf": [
            rewrite(kind, _modern) if isinstance(kind, dict) else {} if kind == "any" else {"type": kind}
            for kind in _listed(types)
        ]
    }


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
