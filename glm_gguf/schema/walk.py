"""Where schemas stand inside a schema: visiting them, and rewriting them from the leaves up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

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
_ALL: Final = ONE | MANY | NAMED


class Place(NamedTuple):
    """Where a schema stands; its path is written only on demand, for a name may be a megabyte long."""

    step: str | int
    above: Place | None = None

    def __str__(self) -> str:
        steps, place = [], self
        while place.above is not None:
            steps.append(str(place.step).replace("~", "~0").replace("/", "~1"))  # as in a JSON pointer (RFC 6901)
            place = place.above
        return "/".join([str(place.step), *reversed(steps)])


ROOT: Final = Place("#")


def subschemas(schema: object, place: Place = ROOT) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Walk a schema and all below it, each with its place."""
    waiting: list[tuple[Place, object]] = [(place, schema)]
    while waiting:
        place, node = waiting.pop()
        if isinstance(node, dict):
            yield place, node
            waiting += reversed(list(_children(node, place)))


def rewrite(schema: Any, change: Callable[[dict[str, Any]], Any]) -> Any:
    """Apply `change` to every schema in one, innermost first, and return what becomes of it.

    Nothing is changed in place; a part without changes is the same object. The caller has checked the depth.
    """

    def rewritten(node: Any, _: Place = ROOT) -> Any:
        return change(rewrite_children(node, rewritten)) if isinstance(node, dict) else node

    return rewritten(schema)


def rewrite_children(node: dict[str, Any], change: Callable[[Any, Place], Any], place: Place = ROOT) -> dict[str, Any]:
    """Apply `change` to the schemas directly in one, each given with its place; the same object if none changes."""
    changed = {}
    for key, value in node.items():
        if key in _ALL:
            new = _rewrite_value(key, value, change, place)
            if new is not value:
                changed[key] = new
    return {**node, **changed} if changed else node


def _rewrite_value(key: str, value: Any, change: Callable[[Any, Place], Any], above: Place) -> Any:
    place = Place(key, above)
    if isinstance(value, dict):
        if key in ONE:
            return change(value, place)
        if key in NAMED:
            named = {name: change(item, Place(name, place)) for name, item in value.items()}
            return named if any(named[name] is not item for name, item in value.items()) else value
    elif isinstance(value, list) and key in MANY:
        items = [change(item, Place(index, place)) for index, item in enumerate(value)]
        return items if any(new is not item for new, item in zip(items, value, strict=True)) else value
    return value


def _children(node: dict[str, Any], above: Place) -> Iterator[tuple[Place, object]]:
    for key, value in node.items():
        if key not in _ALL:
            continue
        place = Place(key, above)
        if isinstance(value, dict):
            if key in ONE:
                yield place, value
            elif key in NAMED:
                yield from ((Place(name, place), item) for name, item in value.items())
        elif isinstance(value, list) and key in MANY:
            yield from ((Place(index, place), item) for index, item in enumerate(value))
