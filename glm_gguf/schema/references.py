"""A schema that refers to nothing outside itself: what its references lead to is gathered in `$defs`."""

from __future__ import annotations

from typing import Any, Final

from glm_gguf.schema.limits import MOST_USED, refuse_many
from glm_gguf.schema.self_contained import OUTSIDE, SelfContained
from glm_gguf.schema.walk import Schema, rewrite, subschemas

_REFERENCES: Final = frozenset(("$ref", "$dynamicRef"))


def self_contained(schema: Schema, draft: str, where: str = "schema") -> SelfContained:
    """Follow all references by their draft's rules: identifiers, anchors, pointers, and the published metaschemas.

    RequestError where one leads nowhere, or where they lead to too much.
    """
    if not isinstance(schema, dict):
        return SelfContained(schema, {})
    if any(not _REFERENCES.isdisjoint(node) for _, node in subschemas(schema)):
        # Most tools have no references, and need not wait for the import.
        from glm_gguf.schema.gathering import Gathering

        return Gathering(schema, draft, where).result()
    bare = _bare(schema)
    for number, _ in enumerate(subschemas(bare)):
        if number == MOST_USED:
            refuse_many(MOST_USED, where)
    return SelfContained(rewrite(bare, _bare), {})


def _bare(node: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in node.items() if key not in OUTSIDE}
