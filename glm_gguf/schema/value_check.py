"""The check of a finished value against a schema, by the jsonschema package; nothing is fetched from the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from jsonschema import Draft7Validator, Draft202012Validator, ValidationError
from jsonschema.validators import extend, validator_for
from jsonschema_specifications import REGISTRY
from referencing.exceptions import Unresolvable
from referencing.jsonschema import specification_with

from glm_gguf.errors import RequestError
from glm_gguf.schema.dialect import draft_uri
from glm_gguf.schema.evaluated import unevaluated_properties
from glm_gguf.schema.formats import fits_format
from glm_gguf.schema.patterns import compiled_search, is_sound, property_search
from glm_gguf.schema.walk import Schema, rewrite

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]
"""How jsonschema calls a keyword: validator, the keyword's value, the instance, the schema around."""

MOST_STEPS = 100_000
"""References followed and schemas entered for one value; a schema of 30 lines can ask for 2**30."""


class _Budget:
    """How many steps may still be taken. Threads that share a check share it too, which does no harm."""

    def __init__(self) -> None:
        self.left = MOST_STEPS

    def spend(self) -> None:
        """Count one more step."""
        self.left -= 1
        if self.left < 0:
            raise RequestError("the schema takes too long to check", fix="give a simpler schema")


@dataclass(frozen=True, slots=True)
class _Found:
    """What a reference leads to, and how those in it are followed."""

    contents: Any
    resolver: _Resolver


@dataclass(frozen=True, slots=True)
class _Resolver:
    """A resolver of referencing's that takes so many steps and no more.

    What a reference to nowhere leads to allows anything: compile_schema has told it.
    """

    inner: Any
    budget: _Budget

    def lookup(self, reference: str) -> _Found:
        """Follow a reference."""
        self.budget.spend()
        try:
            found = self.inner.lookup(reference)
        except (Unresolvable, ValueError, AttributeError, TypeError):
            return _Found({}, self)
        contents = found.contents if isinstance(found.contents, dict | bool) else {}
        return _Found(contents, _Resolver(found.resolver, self.budget))

    def in_subresource(self, resource: Any) -> _Resolver:
        """Enter a schema."""
        self.budget.spend()
        inner = self.inner.in_subresource(resource)
        return self if inner is self.inner else _Resolver(inner, self.budget)

    def dynamic_scope(self) -> Any:
        """Return the schemas that have been entered by references."""
        return self.inner.dynamic_scope()


class ValueCheck:
    """A schema ready to check values; RequestError for what cannot be checked safely."""

    def __init__(self, schema: Schema, where: str = "schema") -> None:
        self._where = where
        draft = draft_uri(schema)
        base = validator_for({"$schema": draft}, default=Draft202012Validator)
        known = "unevaluatedProperties" in base.VALIDATORS
        unevaluated = {"unevaluatedProperties": unevaluated_properties} if known else {}
        dependencies = base.VALIDATORS.get("dependencies", Draft7Validator.VALIDATORS["dependencies"])
        extended = extend(base, {"dependencies": dependencies} | KEYWORDS | unevaluated)  # type: ignore[no-untyped-call]
        contents = _of_one_draft(schema)
        self._budget = _Budget()
        resolver = REGISTRY.resolver_with_root(specification_with(draft).create_resource(contents))
        self._validator = extended(contents, _resolver=_Resolver(resolver, self._budget))

    def problem(self, value: Any) -> str | None:
        """Say what is wrong with a value and where; None where it fits."""
        self._budget.left = MOST_STEPS
        try:
            error = next(self._validator.iter_errors(value), None)
        except (TypeError, ValueError, AttributeError, LookupError, RecursionError, ArithmeticError) as broken:
            # What jsonschema's keywords raise on values that no schema may have.
            raise RequestError(f"no JSON Schema: {type(broken).__name__}: {broken}", field=self._where) from broken
        return None if error is None else f"{error.json_path}: {error.message[:300]}"


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
        search = property_search(pattern)
        for name, item in value.items():
            if search(name):
                yield from validator.descend(item, schema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, schema: Any, value: Any, parent: Any) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    declared = parent.get("properties", {})
    searches = [property_search(pattern) for pattern in parent.get("patternProperties", {})]
    for name, item in value.items():
        if name in declared or any(search(name) for search in searches):
            continue
        if schema is False:
            yield ValidationError(f"{name!r} is not declared")
        else:
            yield from validator.descend(item, schema, path=name)


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


def _multiple_of(_: Any, unit: Any, value: Any, __: Any) -> Iterator[ValidationError]:
    """Check decimal numbers as they are written: 19.99 is a multiple of 0.01, which floats would deny."""
    if _is_number(value) and Fraction(repr(value)) % Fraction(repr(unit)) != 0:
        yield ValidationError(f"{value} is no multiple of {unit}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


KEYWORDS: Final[dict[str, Keyword]] = {
    "format": _format,
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "items": _items,
    "multipleOf": _multiple_of,
    **_bound("minimum", "exclusiveMinimum", 1),
    **_bound("maximum", "exclusiveMaximum", -1),
}
"""Keywords that mean the same in every draft here, or that jsonschema checks without regard to time."""
