"""Schemas that no value fits: the whole is refused; those inside become `false`, so that no grammar offers them.

`{"not": {}}` is how zod writes "nothing". The search is sound but not complete: the check of the answer finds the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from glm_gguf.errors import RequestError
from glm_gguf.schema.bounds import KINDS, kinds, no_number, spans
from glm_gguf.schema.keyword_rules import RULES
from glm_gguf.schema.pattern_search import compiled_search
from glm_gguf.schema.quick_check import fits
from glm_gguf.schema.walk import ROOT, Place, Schema, rewrite_children

Part = dict[str, Any]
Parts = Sequence[Part]

MOST_STEPS = 100_000
"""Visits of schemas; after them a schema counts as one that some value fits."""
MOST_DEPTH = 48
MOST_ITEMS = 16
_FREE: Final = frozenset(("$defs", "definitions", "$id", "id", "$anchor", "$dynamicAnchor"))
_RESTRICTING: Final = (RULES.keys() - _FREE) | {"const"}
_PLAIN: Final = frozenset(("type", "format"))
"""Keywords that leave some value, each alone and both together."""
_OBJECT: Final[Part] = {"type": "object"}
_DEMANDS: Final = ("dependentRequired", "dependentSchemas", "dependencies")
NEVER: Final = "nothing is allowed there"


class Possible(NamedTuple):
    """A schema with `false` for each schema in it that no value fits; `why_not` if no value fits the whole."""

    schema: Schema
    why_not: str | None


def possible(schema: Schema) -> Possible:
    """Put `false` for schemas that no value fits. `schema` is in normal form, its references lead to its `$defs`."""
    if not isinstance(schema, dict):
        return Possible(schema, None if schema else NEVER)
    search = _Search(schema)
    left = search.pruned(schema)
    return Possible(left, search.reason if left is False else None)


class _Search:
    """What is known of one schema and the schemas in it."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._left = MOST_STEPS
        self._fitted: set[frozenset[int]] = set()
        self._made: list[Schema] = []  # kept alive: schemas are known by id()
        self.reason = NEVER

    def pruned(self, node: Any, _: Place = ROOT) -> Schema:
        """Return a schema with `false` for what no value fits; False for the whole sets `reason`."""
        if not isinstance(node, dict):
            return bool(node)
        reason = self.why([node])
        if reason is None:
            left = _tidy(rewrite_children(node, self.pruned))
            if left is node:
                return left
            self._made.append(left)
            reason = self.why([left])
        if reason is None:
            return left
        self.reason = reason
        return False

    def why(self, schemas: Sequence[Schema], above: frozenset[frozenset[int]] = frozenset()) -> str | None:
        """Say why no value fits all schemas; None if one may, or if the search takes too long."""
        if self._spent(1) or len(above) > MOST_DEPTH:
            return None
        if len(schemas) == 1 and isinstance(schemas[0], dict) and schemas[0].keys() <= _PLAIN:
            return None
        parts = self._parts(schemas)
        if parts is None:
            return NEVER
        key = frozenset(map(id, parts))
        if key in above:
            return "it contains itself without end"
        if key in self._fitted:
            return None
        reason = self._conflict(parts, above | {key}) or self._no_arm(parts, above | {key})
        if reason is None:
            self._fitted.add(key)
        return reason

    def _parts(self, schemas: Sequence[Schema]) -> list[Part] | None:
        """Gather all schemas that the same value must fit; None if one is `false`."""
        found: dict[int, Part] = {}
        waiting = list(schemas)
        while waiting:
            schema = waiting.pop()
            if schema is False:
                return None
            if not isinstance(schema, dict) or id(schema) in found:
                continue
            found[id(schema)] = schema
            waiting += schema.get("allOf", ())
            for keyword in ("anyOf", "oneOf"):
                waiting += schema[keyword] if len(schema.get(keyword, ())) == 1 else ()
            if "$ref" in schema:
                waiting.append(self._target(schema["$ref"]))
            if "if" in schema and _is_free(schema["if"]):
                waiting.append(schema.get("then", True))
            elif schema.get("if") is False:
                waiting.append(schema.get("else", True))
        self._left -= len(found)
        return list(found.values())

    def _spent(self, steps: int) -> bool:
        """Count steps, and tell whether they are too many."""
        self._left -= steps
        return self._left < 0

    def _target(self, reference: str) -> Schema:
        name = reference.removeprefix("#/$defs/")
        found: Schema = self._root if name == reference else self._root.get("$defs", {}).get(name, True)
        return found

    def _no_arm(self, parts: Parts, above: frozenset[frozenset[int]]) -> str | None:
        """Say which choice has no arm that a value may fit beside the rest."""
        for part in parts:
            for keyword in ("anyOf", "oneOf"):
                if keyword in part and not any(self._may_choose(arm, parts, above) for arm in _arms(part, keyword)):
                    return f"nothing fits any of its {keyword}"
        return None

    def _may_choose(self, arm: Schema, parts: Parts, above: frozenset[frozenset[int]]) -> bool:
        if self.why([arm], above) is not None:
            return False
        if self._spent(4 * len(parts)):
            return True
        joined = self._parts([*parts, arm])
        return joined is not None and self._conflict(joined, above) is None

    def _conflict(self, parts: Parts, above: frozenset[frozenset[int]]) -> str | None:
        """Say why the schemas contradict each other, arms of choices aside."""
        if any("not" in part and _is_free(part["not"]) for part in parts):
            return NEVER
        listed = [part.get("enum", [part.get("const")]) for part in parts if "enum" in part or "const" in part]
        for values in listed:
            if not any(self._may_be(value, parts) for value in values):
                return "none of its values fits" if values else "it has no values"
        possible, whole = kinds(parts)
        reasons = [self._no_value(kind, parts, above, whole=whole) for kind in sorted(possible)]
        if listed:
            return None
        return None if None in reasons else next(iter(reasons), "no type is left")

    def _may_be(self, value: Any, parts: Parts) -> bool:
        return self._spent(len(parts)) or all(fits(value, part) is not False for part in parts)

    def _no_value(self, kind: str, parts: Parts, above: frozenset[frozenset[int]], *, whole: bool) -> str | None:
        """Say why no value of a type fits; None if one may."""
        if kind == "number":
            return no_number(parts, whole=whole)
        if kind == "string":
            least, most = spans(parts, "minLength", "maxLength")
            return f"minLength {least} is above maxLength {most}" if least > most else None
        if kind == "array":
            return self._no_array(parts, above)
        return self._no_object(parts, above) if kind == "object" else None

    def _no_array(self, parts: Parts, above: frozenset[frozenset[int]]) -> str | None:
        least, most = spans(parts, "minItems", "maxItems")
        for part in parts:
            if "contains" in part and part.get("minContains", 1) > 0:
                least = max(least, part.get("minContains", 1))
                if self.why([part["contains"]], above) or part.get("maxContains", least) < part.get("minContains", 1):
                    return "nothing fits its contains"
            if part.get("uniqueItems") and isinstance(part.get("items"), dict) and "enum" in part["items"]:
                most = min(most, len(part.get("prefixItems", ())) + len(part["items"]["enum"]))
        if least > most:
            return f"at least {least} items, and at most {most}"
        for index in range(min(int(least), MOST_ITEMS)):
            if self.why([schema for part in parts for schema in _of_item(part, index)], above):
                return f"nothing fits item {index}, and there must be one"
        return None

    def _no_object(self, parts: Parts, above: frozenset[frozenset[int]]) -> str | None:
        needed, more = self._needed(parts)
        joined = self._parts([*parts, *more])
        if joined is None or len(joined) > len(parts):
            return self.why([*parts, *more, _OBJECT], above)
        least, most = spans(parts, "minProperties", "maxProperties")
        closed = [
            part for part in parts if part.get("additionalProperties") is False and not part.get("patternProperties")
        ]
        for part in closed:
            most = min(most, sum(self.why([schema], above) is None for schema in part.get("properties", {}).values()))
        patterns = sum(len(part.get("patternProperties", ())) for part in parts)
        for name in needed:
            if self._spent(len(parts) + patterns):
                return None
            if any(fits(name, part["propertyNames"]) is False for part in parts if "propertyNames" in part):
                return f"{name!r} is required, and no name that may be"
            if self.why([schema for part in parts for schema in _of_property(part, name)], above):
                return f"{name!r} is required, and no value of it allowed"
        if max(least, len(needed)) > most:
            return f"at least {max(least, len(needed))} properties, and at most {most}"
        return None

    def _needed(self, parts: Parts) -> tuple[list[str], list[Schema]]:
        """Return the names that an object must have, and the schemas that these names demand."""
        needed = dict.fromkeys(name for part in parts for name in part.get("required", ()))
        waiting, more = list(needed), []
        while waiting and not self._spent(len(parts)):
            name = waiting.pop()
            for demand in (part[key].get(name, []) for part in parts for key in _DEMANDS if key in part):
                if isinstance(demand, list):
                    waiting += [other for other in demand if other not in needed]
                    needed |= dict.fromkeys(demand)
                else:
                    more.append(demand)
        return list(needed), more


def _tidy(node: dict[str, Any]) -> Schema:
    """Drop keywords that `false` below them makes meaningless; the same object if there are none."""
    if node.get("not") is False:
        node = {key: value for key, value in node.items() if key != "not"}
    for keyword in ("anyOf", "oneOf"):
        if any(arm is False for arm in node.get(keyword, ())):
            node = {**node, keyword: [arm for arm in node[keyword] if arm is not False]}
    if "if" in node or "then" in node or "else" in node:
        node = _decided(node)
    for keyword in ("anyOf", "oneOf", "allOf"):
        if len(node) == 1 and len(node.get(keyword, ())) == 1:
            only: Schema = node[keyword][0]
            return only
    return node


def _decided(node: dict[str, Any]) -> dict[str, Any]:
    """Replace a condition that always or never holds by its branch, and drop one without effect."""
    kept = {key: value for key, value in node.items() if key not in ("if", "then", "else")}
    condition, yes, no = node.get("if"), node.get("then", True), node.get("else", True)
    if condition is None or (_is_free(yes) and _is_free(no)):
        return kept
    if condition is not False and not _is_free(condition):
        return node
    return {**kept, "allOf": [*kept.get("allOf", ()), no if condition is False else yes]}


def _is_free(schema: Any) -> bool:
    """Tell whether every value fits a schema, as far as its keywords show it."""
    if not isinstance(schema, dict):
        return schema is True
    return all(_frees(key, schema[key]) for key in schema.keys() & _RESTRICTING)


def _frees(key: str, value: Any) -> bool:
    """Tell whether a keyword restricts nothing."""
    if key in ("anyOf", "allOf"):
        return (any if key == "anyOf" else all)(map(_is_free, value))
    if key in ("properties", "patternProperties"):
        return all(map(_is_free, value.values()))
    if key in ("items", "additionalProperties", "propertyNames"):
        return _is_free(value)
    return value is False if key == "not" else key == "type" and set(value) >= KINDS


def _arms(part: Part, keyword: str) -> list[Schema]:
    """Return the arms of a choice; a `oneOf` never fits by one of two equal arms alone."""
    arms: list[Schema] = part[keyword]
    if keyword == "oneOf" and len(arms) <= MOST_ITEMS:
        return [arm for arm in arms if sum(other == arm or (_is_free(other) and _is_free(arm)) for other in arms) == 1]
    return arms


def _of_item(part: Part, index: int) -> Iterator[Schema]:
    """Yield the schemas that an item must fit."""
    first = part.get("prefixItems", [])
    if index < len(first):
        yield first[index]
    elif "items" in part:
        yield part["items"]


def _of_property(part: Part, name: str) -> Iterator[Schema]:
    """Yield the schemas that a property must fit."""
    found = [part["properties"][name]] if name in part.get("properties", {}) else []
    named = part.get("patternProperties", {})
    try:
        found += [schema for pattern, schema in named.items() if compiled_search(pattern)(name)]
    except RequestError:
        return
    if not found and "additionalProperties" in part:
        found = [part["additionalProperties"]]
    yield from found
