"""A schema that refers to nothing outside itself: what its references lead to is gathered in `$defs`."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from jsonschema_specifications import REGISTRY
from referencing.exceptions import Unresolvable
from referencing.jsonschema import specification_with

from glm_gguf.schema.dialect import draft_uri, is_old
from glm_gguf.schema.limits import MOST_USED, refuse_many
from glm_gguf.schema.walk import Place, Schema, rewrite_children

ROOT = "#"


@dataclass(frozen=True, slots=True)
class SelfContained:
    """The schema; where in the original each of its definitions stands; and the path of a reference to nowhere."""

    schema: Schema
    origins: dict[str, str]
    unresolved: str | None = None


def self_contained(schema: Schema, where: str = "schema") -> SelfContained:
    """Follow all references by their draft's rules: identifiers, anchors, pointers, and the published metaschemas.

    A reference that leads nowhere is left out, so that it allows anything. RequestError where they lead to too much.
    """
    if not isinstance(schema, dict):
        return SelfContained(schema, {})
    return _Gathering(schema, where).result()


class _Gathering:
    """The definitions that have been found, and those whose own references have still to be followed."""

    def __init__(self, root: dict[str, Any], where: str) -> None:
        self._where, self._count = where, 0
        draft = draft_uri(root)
        self._siblings = not is_old(draft)
        self._specification = specification_with(draft)
        resource = self._specification.create_resource(root)
        base = resource.id() or ""
        self._root = root
        self._resolver = REGISTRY.with_resource(base, resource).resolver(base_uri=base)
        self._names: dict[int, str] = {}
        self._waiting: deque[tuple[str, Any, Any]] = deque()
        self._origins: dict[str, str] = {}
        self._unresolved: str | None = None

    def result(self) -> SelfContained:
        """Follow everything."""
        schema = self._followed(self._root, self._resolver, Place(""))
        definitions = {}
        while self._waiting:
            name, contents, resolver = self._waiting.popleft()
            definitions[name] = self._followed(contents, resolver, Place(self._origins[name]))
        if definitions:
            schema["$defs"] = definitions
        return SelfContained(schema, self._origins, self._unresolved)

    def _followed(self, node: Any, resolver: Any, place: Place) -> Any:
        """Copy a schema with its references led to `$defs`; what lies in it that is no schema stays away."""
        if not isinstance(node, dict):
            return node
        self._count += 1
        if self._count > MOST_USED:
            refuse_many(MOST_USED, self._where)
        inner = resolver.in_subresource(self._specification.create_resource(node))
        reference = node.get("$ref")
        if isinstance(reference, str):
            siblings = {} if not self._siblings else {key: value for key, value in node.items() if key != "$ref"}
            found = self._definition(reference, inner, Place("$ref", place))
            node = siblings if found is None else {"$ref": found, **siblings}
        kept = {
            key: value for key, value in node.items() if key not in ("$defs", "definitions", "$id", "id", "$schema")
        }
        return rewrite_children(kept, lambda child, step: self._followed(child, inner, Place(step, place)))

    def _definition(self, reference: str, resolver: Any, place: Place) -> str | None:
        """Return the new reference to what a reference leads to; None where that is nowhere."""
        try:
            found = resolver.lookup(reference)
        except (Unresolvable, ValueError, AttributeError, TypeError):
            self._unresolved = self._unresolved or str(place)
            return None
        contents = found.contents
        if contents is self._root:
            return ROOT
        if not isinstance(contents, dict | bool):
            self._unresolved = self._unresolved or str(place)
            return None
        key = id(contents)
        if key not in self._names:
            name = self._names[key] = f"d{len(self._names)}"
            self._origins[name] = reference[1:] if reference.startswith("#/") else f"/{reference}"
            self._waiting.append((name, contents, found.resolver))
        return f"#/$defs/{self._names[key]}"
