"""A schema that refers to nothing outside itself: the targets of its references stand in `$defs`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

from glm_gguf.errors import RequestError
from glm_gguf.schema.draft import has_siblings
from glm_gguf.schema.keyword_rules import well_formed
from glm_gguf.schema.size_limits import MOST_CHAIN, MOST_USED, SIMPLER, refuse_many
from glm_gguf.schema.walk import Place, Schema, rewrite, rewrite_children, subschemas

_ONLY_FOR_REFERENCES: Final = frozenset(("$defs", "definitions", "$id", "id", "$schema"))
"""Keywords that only references read."""
_REFERENCES: Final = frozenset(("$ref", "$dynamicRef"))


@dataclass(frozen=True, slots=True)
class SelfContained:
    """The schema, and the path of each of its definitions in the original."""

    schema: Schema
    origins: dict[str, str]


def self_contained(schema: Schema, draft: str, field: str = "schema") -> SelfContained:
    """Follow all references by their draft's rules: identifiers, anchors, pointers, and the published metaschemas.

    RequestError if one has no target, or if the targets are too many.
    """
    if not isinstance(schema, dict):
        return SelfContained(schema, {})
    count, refers = 0, False

    def counted(node: dict[str, Any]) -> dict[str, Any]:
        nonlocal count, refers
        count += 1
        refers = refers or not _REFERENCES.isdisjoint(node)
        return _bare(node)

    bare = rewrite(_bare(schema), counted)
    if refers:
        return _Resolution(schema, draft, field).result()
    if count > MOST_USED:
        refuse_many(MOST_USED, field)
    return SelfContained(bare, {})


def _bare(node: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without keywords that only references read; the same object if it has none."""
    if _ONLY_FOR_REFERENCES.isdisjoint(node):
        return node
    return {key: value for key, value in node.items() if key not in _ONLY_FOR_REFERENCES}


def _same_value(schema: Any) -> Iterator[str]:
    """Yield the references that every check of a value follows for this value itself."""
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            waiting += [*node.get("allOf", ()), *node.get("oneOf", ()), node.get("not"), node.get("if")]
            waiting += node["anyOf"] if len(node.get("anyOf", ())) == 1 else ()
            yield from [node["$ref"]] if "$ref" in node else []


class _Resolution:
    """Follows references: the definitions found, and those whose own references are still to be followed."""

    def __init__(self, root: dict[str, Any], draft: str, field: str) -> None:
        # Most tools have no references, and need not wait a tenth of a second for this import.
        from jsonschema_specifications import REGISTRY
        from referencing.jsonschema import specification_with

        self._field, self._count = field, 0
        self._siblings = has_siblings(draft)
        self._specification = specification_with(draft)
        resource = self._specification.create_resource(root)
        base = resource.id() or ""
        self._root = root
        self._known = {id(node) for _, node in subschemas(root)}
        try:
            self._resolver = REGISTRY.with_resource(base, resource).crawl().resolver(base_uri=base)
        except (TypeError, AttributeError) as error:  # what referencing raises on Booleans and lists of other drafts
            what = "a Boolean schema, or a list of items, is foreign to its draft, and it has references"
            fix = "use the keywords of one draft, and name that draft in $schema"
            raise RequestError(what, field=field, fix=fix) from error
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
        self._require_an_end({"#": schema, **{f"#/$defs/{name}": node for name, node in definitions.items()}})
        self._require_short_chains(definitions)
        return SelfContained({**schema, "$defs": definitions} if definitions else schema, self._origins)

    def _require_an_end(self, schemas: dict[str, Any]) -> None:
        """Raise RequestError for references in a circle on which the value stays the same: no check of it ends."""
        try:
            TopologicalSorter({name: set(_same_value(node)) for name, node in schemas.items()}).prepare()
        except CycleError as error:
            origin = self._origins.get(error.args[1][0].removeprefix("#/$defs/"), "")
            fix = "refer to it for a part of the value, below properties or items"
            raise RequestError(
                "it refers to itself for the same value", field=f"{self._field}{origin}", fix=fix
            ) from error

    def _require_short_chains(self, definitions: dict[str, Any]) -> None:
        """Raise RequestError if a reference leads through too many others."""
        for name in definitions:
            target, length = f"#/$defs/{name}", 0
            while target.startswith("#/$defs/"):
                node = definitions[target.removeprefix("#/$defs/")]
                target = node.get("$ref", "") if isinstance(node, dict) else ""
                length += 1
                if length > MOST_CHAIN:
                    what = f"a chain of more than {MOST_CHAIN} references"
                    raise RequestError(what, field=f"{self._field}{self._origins[name]}", fix=SIMPLER)

    def _followed(self, node: Any, resolver: Any, place: Place) -> Any:
        """Return a schema with its references turned to `$defs`, without keywords that only references read."""
        if not isinstance(node, dict):
            return node
        self._count += 1
        if self._count > MOST_USED:
            refuse_many(MOST_USED, self._field)
        inner = resolver
        if "$id" in node or "id" in node:
            inner = resolver.in_subresource(self._specification.create_resource(node))
        reference = node.get("$ref")
        if isinstance(reference, str):
            siblings = {} if not self._siblings else {key: value for key, value in node.items() if key != "$ref"}
            node = {"$ref": self._definition(reference, inner, Place("$ref", place)), **siblings}
        if isinstance(node.get("$dynamicRef"), str):
            self._target(node["$dynamicRef"], inner, Place("$dynamicRef", place))
        return rewrite_children(_bare(node), lambda child, below: self._followed(child, inner, below), place)

    def _definition(self, reference: str, resolver: Any, place: Place) -> str:
        """Return the new reference to the target of a reference."""
        found = self._target(reference, resolver, place)
        contents = found.contents
        if contents is self._root:
            return "#"
        key = id(contents)
        if key not in self._names:
            name = self._names[key] = f"d{len(self._names)}"
            self._origins[name] = reference[1:] if reference.startswith("#/") else f"/{reference}"
            if key not in self._known:  # `#/components/schemas/a`, or a metaschema
                contents = well_formed(contents, f"{self._field}{self._origins[name]}").schema
            self._waiting.append((name, contents, found.resolver))
        return f"#/$defs/{self._names[key]}"

    def _target(self, reference: str, resolver: Any, place: Place) -> Any:
        """Return the target of a reference; RequestError if there is none, or if it is no schema."""
        from referencing.exceptions import Unresolvable

        try:
            found = resolver.lookup(reference)
        except (Unresolvable, ValueError, AttributeError, TypeError) as error:
            raise self._astray(reference, place) from error
        if not isinstance(found.contents, dict | bool):
            raise self._astray(reference, place)
        return found

    def _astray(self, reference: str, place: Place) -> RequestError:
        fix = "put its target into $defs; nothing is fetched"
        return RequestError(f"the reference {reference[:200]!r} has no target", field=f"{self._field}{place}", fix=fix)
