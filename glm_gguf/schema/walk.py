"""Where schemas stand inside a schema: visiting them, and rewriting them from the leaves up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

Schema = dict[str, Any] | bool

ONE = frozenset(
    (
        *("additionalItems", "additionalProperties", "contains", "else", "if", "items", "not", "propertyNames"),
        *("then", "unevaluatedItems", "unevaluatedProperties"),
    )
)
"""Keywords whose value is a schema."""
MANY = frozenset(("allOf", "anyOf", "items", "oneOf", "prefixItems"))
"""Keywords whose value is a list of schemas."""
NAMED = frozenset(("$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"))
"""Keywords whose value maps names to schemas."""


class Place(NamedTuple):
    """Where a schema stands; the path is written only when it is asked for, as a name may be a megabyte long."""

    step: str
    above: Place | None = None

    def __str__(self) -> str:
        steps, place = [self.step], self.above
        while place is not None:
            steps.append(place.step)
            place = place.above
        return "/".join(reversed(steps))


def subschemas(schema: object, path: str = "#") -> Iterator[tuple[Place, dict[str, Any]]]:
    """Walk a schema and all below it, each with its place."""
    waiting: list[tuple[Place, object]] = [(Place(path), schema)]
    while waiting:
        place, node = waiting.pop()
        if isinstance(node, dict):
            yield place, node
            waiting += [(Place(step, place), child) for step, child in reversed(list(_children(node)))]


def rewrite(schema: Any, change: Callable[[dict[str, Any]], Any]) -> Any:
    """Copy a schema with `change` applied to every schema in it, innermost first; depth is checked before."""
    if not isinstance(schema, dict):
        return schema
    return change(rewrite_children(schema, lambda child, _: rewrite(child, change)))


def rewrite_children(node: dict[str, Any], change: Callable[[Any, str], Any]) -> dict[str, Any]:
    """Copy a schema with `change` applied to those directly in it, each given with its path from here."""
    return {key: _rewrite_value(key, value, change) for key, value in node.items()}


def _rewrite_value(key: str, value: Any, change: Callable[[Any, str], Any]) -> Any:
    if key in ONE and isinstance(value, dict):
        return change(value, key)
    if key in MANY and isinstance(value, list):
        return [change(item, f"{key}/{index}") for index, item in enumerate(value)]
    if key in NAMED and isinstance(value, dict):
        return {name: change(item, f"{key}/{_escaped(name)}") for name, item in value.items()}
    return value


def _children(node: dict[str, Any]) -> Iterator[tuple[str, object]]:
    for key, value in node.items():
        if key in ONE and isinstance(value, dict):
            yield key, value
        elif key in MANY and isinstance(value, list):
            yield from ((f"{key}/{index}", item) for index, item in enumerate(value))
        elif key in NAMED and isinstance(value, dict):
            yield from ((f"{key}/{_escaped(name)}", item) for name, item in value.items())


def _escaped(name: str) -> str:
    """Write a name as a step of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
