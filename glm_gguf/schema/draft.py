"""Which draft of JSON Schema a schema is written in; draft 3 is rewritten as draft 4, which grammars know."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from glm_gguf.schema.walk import Schema, rewrite

_DRAFT: Final = re.compile(r"json-schema\.org/(draft-0[3467]|draft/20(?:19-09|20-12))/(?:hyper-)?schema\b")
DRAFT_4: Final = "http://json-schema.org/draft-04/schema#"
LATEST: Final = "https://json-schema.org/draft/2020-12/schema"
LAST_WITH_LISTS: Final = "https://json-schema.org/draft/2019-09/schema"
_FORMATS: Final = {"host-name": "hostname", "ip-address": "ipv4", "time": "draft 3's time"}
"""Formats of draft 3 under their later names; its times have no offset, which no later format allows."""


def draft_of(schema: Any, nodes: Iterable[dict[str, Any]]) -> str:
    """Return the registered address of a schema's draft, however `$schema` spells it; `nodes` are all schemas in it.

    An unknown draft counts as the latest, or as the latest with lists of `items` if the schema has such a list.
    """
    found = _DRAFT.search(str(schema.get("$schema"))) if isinstance(schema, dict) else None
    if found is not None:
        name = found.group(1)
        return f"https://json-schema.org/{name}/schema" if "/" in name else f"http://json-schema.org/{name}/schema#"
    has_list = False
    for node in nodes:
        if "prefixItems" in node:
            return LATEST
        has_list = has_list or isinstance(node.get("items"), list)
    return LAST_WITH_LISTS if has_list else LATEST


def has_siblings(draft: str) -> bool:
    """Tell whether keywords beside a `$ref` count: before 2019-09 they do not."""
    return "/draft-0" not in draft


def is_draft_3(draft: str) -> bool:
    """Tell whether a draft is the third, which has keywords of its own."""
    return "/draft-03/" in draft


def modern(schema: Schema) -> Schema:
    """Return a schema of draft 3 as one of draft 4; the caller has checked the depth."""
    result = rewrite(schema, _modern)
    return {**result, "$schema": DRAFT_4} if isinstance(result, dict) else schema


def _modern(node: dict[str, Any]) -> dict[str, Any]:
    """Rewrite one schema. Those in it are rewritten, but keep the Boolean `required` that this one reads."""
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
    """Gather the names of properties that declare themselves required."""
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
    """Return a choice of type names and schemas as a schema."""
    return {
        "anyOf": [
            rewrite(kind, _modern) if isinstance(kind, dict) else {} if kind == "any" else {"type": kind}
            for kind in _listed(types)
        ]
    }


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
