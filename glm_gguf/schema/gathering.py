"""What the references of a schema lead to, found by the referencing package; importing it takes a tenth of a second."""

from __future__ import annotations

from collections import deque
from typing import Any

from jsonschema_specifications import REGISTRY
from referencing.exceptions import Unresolvable
from referencing.jsonschema import specification_with

from glm_gguf.errors import RequestError
from glm_gguf.schema.dialect import is_old
from glm_gguf.schema.limits import MOST_USED, refuse_many
from glm_gguf.schema.self_contained import OUTSIDE, SelfContained
from glm_gguf.schema.walk import Place, rewrite_children, subschemas
from glm_gguf.schema.well_formed import well_formed

ROOT = "#"


class Gathering:
    """The definitions that have been found, and those whose own references have still to be followed."""

    def __init__(self, root: dict[str, Any], draft: str, where: str) -> None:
        self._where, self._count = where, 0
        self._siblings = not is_old(draft)
        self._specification = specification_with(draft)
        resource = self._specification.create_resource(root)
        base = resource.id() or ""
        self._root = root
        self._known = {id(node) for _, node in subschemas(root)}
        self._resolver = REGISTRY.with_resource(base, resource).crawl().resolver(base_uri=base)  # its anchors, once
        self._names: dict[int, str] = {}
        self._waiting: deque[tuple[str, Any, Any]] = deque()
        self._origins: dict[str, str] = {}

    def result(self) -> SelfContained:
        """Follow everything."""
        schema = self._followed(self._root, self._resolver, Place(""))
        definitions = {}
        while self._waiting:
            name, contents, resolver = self._waiting.popleft()
            definitions[name] = self._followed(contents, resolver, Place(self._origins[name]))
        if definitions:
            schema["$defs"] = definitions
        return SelfContained(schema, self._origins)

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
            node = {"$ref": self._definition(reference, inner, Place("$ref", place)), **siblings}
        if isinstance(node.get("$dynamicRef"), str):
            self._target(node["$dynamicRef"], inner, Place("$dynamicRef", place))
        kept = {key: value for key, value in node.items() if key not in OUTSIDE}
        return rewrite_children(kept, lambda child, step: self._followed(child, inner, Place(step, place)))

    def _definition(self, reference: str, resolver: Any, place: Place) -> str:
        """Return the new reference to what a reference leads to."""
        found = self._target(reference, resolver, place)
        contents = found.contents
        if contents is self._root:
            return ROOT
        key = id(contents)
        if key not in self._names:
            name = self._names[key] = f"d{len(self._names)}"
            self._origins[name] = reference[1:] if reference.startswith("#/") else f"/{reference}"
            if key not in self._known:  # `#/components/schemas/a`, or a metaschema
                contents = well_formed(contents, f"{self._where}{self._origins[name]}").schema
            self._waiting.append((name, contents, found.resolver))
        return f"#/$defs/{self._names[key]}"

    def _target(self, reference: str, resolver: Any, place: Place) -> Any:
        """Return what a reference leads to; RequestError where that is no schema that can be read here."""
        try:
            found = resolver.lookup(reference)
        except (Unresolvable, ValueError, AttributeError, TypeError) as error:
            raise self._astray(reference, place) from error
        if not isinstance(found.contents, dict | bool):
            raise self._astray(reference, place)
        return found

    def _astray(self, reference: str, place: Place) -> RequestError:
        fix = "put what it means into $defs; nothing is fetched"
        return RequestError(f"{reference[:200]!r} leads nowhere", field=f"{self._where}{place}", fix=fix)
