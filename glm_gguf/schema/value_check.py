"""The check of a finished value against a schema, by the jsonschema package; nothing is fetched from the network."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final

from jsonschema import Draft7Validator, Draft202012Validator, ValidationError
from jsonschema.validators import extend, validator_for
from jsonschema_specifications import REGISTRY
from referencing.exceptions import Unresolvable

from glm_gguf.errors import RequestError
from glm_gguf.schema.dialect import draft_uri
from glm_gguf.schema.formats import fits_format
from glm_gguf.schema.patterns import Search, compiled_search, is_sound
from glm_gguf.schema.walk import Schema, rewrite

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]
"""How jsonschema calls a keyword: validator, the keyword's value, the instance, the schema around."""

MOST_REFERENCES = 100_000
"""References followed for one value; a schema of 30 lines can ask for 2**30."""


class _Budget:
    """How many references may still be followed. Threads that share a check share it too, which does no harm."""

    def __init__(self) -> None:
        self.left = MOST_REFERENCES

    def spend(self) -> None:
        """Count one more reference."""
        self.left -= 1
        if self.left < 0:
            raise RequestError("the references take too long to follow", fix="give a simpler schema")


class ValueCheck:
    """A schema ready to check values; RequestError for what cannot be checked safely."""

    def __init__(self, schema: Schema, where: str = "schema") -> None:
        self._where = where
        base = validator_for({"$schema": draft_uri(schema)}, default=Draft202012Validator)
        self._budget = _Budget()
        keywords: dict[str, Any] = KEYWORDS | {"$ref": _counted(base.VALIDATORS["$ref"], self._budget)}
        keywords["dependencies"] = base.VALIDATORS.get("dependencies", Draft7Validator.VALIDATORS["dependencies"])
        extended = extend(base, keywords)  # type: ignore[no-untyped-call]
        self._validator = extended(_of_one_draft(schema), registry=REGISTRY)

    def problem(self, value: Any) -> str | None:
        """Say what is wrong with a value and where; None where it fits."""
        self._budget.left = MOST_REFERENCES
        try:
            error = next(self._validator.iter_errors(value), None)
        except (TypeError, ValueError, AttributeError, LookupError, RecursionError, ArithmeticError) as broken:
            # What jsonschema's keywords raise on values that no schema may have.
            raise RequestError(f"no JSON Schema: {type(broken).__name__}: {broken}", where=self._where) from broken
        return None if error is None else f"{error.json_path}: {error.message[:300]}"


def _counted(follow: Keyword, budget: _Budget) -> Keyword:
    """Return a keyword's check that spends of a budget."""

    def counted(validator: Any, reference: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
        budget.spend()
        with contextlib.suppress(Unresolvable):  # nobody can say what stands there; compile_schema has told it
            yield from follow(validator, reference, value, schema) or ()

    return counted


def _of_one_draft(schema: Schema) -> Any:
    """Leave `$schema` out: with it, jsonschema would go on by keywords of its own."""
    return rewrite(schema, lambda node: {key: value for key, value in node.items() if key != "$schema"})


def _format(_: Any, name: Any, value: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not fits_format(name, value):
        yield ValidationError(f"{value!r} is no {name}")


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and is_sound(pattern) and not compiled_search(pattern)(value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, value: Any, _: Any) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    for pattern, schema in patterns.items():
        search = _search(pattern)
        for name, item in value.items():
            if search(name):
                yield from validator.descend(item, schema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, schema: Any, value: Any, parent: Any) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    declared = parent.get("properties", {})
    searches = [_search(pattern) for pattern in parent.get("patternProperties", {})]
    for name, item in value.items():
        if name in declared or any(search(name) for search in searches):
            continue
        if schema is False:
            yield ValidationError(f"{name!r} is not declared")
        else:
            yield from validator.descend(item, schema, path=name)


def _search(pattern: str) -> Search:
    """Return the search for a property's name; what is no pattern may match anything."""
    return compiled_search(pattern) if is_sound(pattern) else lambda _: True


def _items(validator: Any, schemas: Any, value: Any, parent: Any) -> Iterator[ValidationError]:
    """Check `items` by 2020-12, where a list, as older drafts have it, stands for `prefixItems`."""
    if not isinstance(value, list):
        return
    first = schemas if isinstance(schemas, list) else parent.get("prefixItems", [])
    rest = parent.get("additionalItems", True) if isinstance(schemas, list) else schemas
    for index, item in enumerate(value):
        if index < len(first):
            if isinstance(schemas, list):
                yield from validator.descend(item, first[index], path=index)
        else:
            yield from validator.descend(item, rest, path=index)


def _bound(keyword: str, exclusive: str, sign: int) -> dict[str, Keyword]:
    """Return the checks of a bound; draft 4 has a Boolean beside it, later drafts another number."""

    def inclusive_bound(_: Any, bound: Any, value: Any, parent: Any) -> Iterator[ValidationError]:
        strict = parent.get(exclusive) is True
        if _is_number(value) and (sign * value < sign * bound or (strict and value == bound)):
            yield ValidationError(f"{value} is beyond the {keyword} of {bound}")

    def exclusive_bound(_: Any, bound: Any, value: Any, __: Any) -> Iterator[ValidationError]:
        if _is_number(value) and _is_number(bound) and sign * value <= sign * bound:
            yield ValidationError(f"{value} is beyond the {exclusive} of {bound}")

    return {keyword: inclusive_bound, exclusive: exclusive_bound}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


KEYWORDS: Final[dict[str, Keyword]] = {
    "format": _format,
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "items": _items,
    **_bound("minimum", "exclusiveMinimum", 1),
    **_bound("maximum", "exclusiveMaximum", -1),
}
"""Keywords that mean the same in every draft here, or that jsonschema checks without regard to time."""
