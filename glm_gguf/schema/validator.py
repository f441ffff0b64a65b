"""The jsonschema package with keywords of ours; it fetches nothing from the network.

With its extras installed, its import takes seconds: value_check.py imports it for the first value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

from jsonschema import Draft7Validator, Draft202012Validator, ValidationError
from jsonschema.validators import extend, validator_for
from jsonschema_specifications import REGISTRY
from referencing.exceptions import Unresolvable
from referencing.jsonschema import specification_with

from glm_gguf.errors import RequestError
from glm_gguf.schema.formats import fits_format
from glm_gguf.schema.pattern_search import compiled_search
from glm_gguf.schema.unevaluated_properties import unevaluated_properties
from glm_gguf.schema.walk import Schema, rewrite

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]
"""How jsonschema calls a keyword: validator, the keyword's value, the instance, the schema around it."""

MOST_STEPS = 100_000
"""References followed and schemas entered for one value; a schema of 30 lines can need 2**30."""

STACK_RESERVE = 50
"""Frames of Python that a look-up of referencing's needs at most."""


class _Budget:
    """Steps that are left to one check."""

    def __init__(self) -> None:
        self.left = MOST_STEPS

    def spend(self) -> None:
        """Count one step; RequestError if none is left."""
        self.left -= 1
        if self.left < 0:
            raise RequestError("the schema takes too long to check", fix="give a simpler schema")


@dataclass(frozen=True, slots=True)
class _Found:
    """The target of a reference, and the resolver for references in it."""

    contents: Any
    resolver: _Resolver


@dataclass(frozen=True, slots=True)
class _Resolver:
    """A resolver of referencing's within a budget of steps."""

    inner: Any
    budget: _Budget

    def lookup(self, reference: str) -> _Found:
        """Follow a reference; RequestError if it has no target, RecursionError if too little of the stack is left."""
        self.budget.spend()
        _require_frames(STACK_RESERVE)
        try:
            found = self.inner.lookup(reference)
        except (Unresolvable, ValueError, AttributeError, TypeError) as error:
            raise RequestError(f"the reference {reference[:200]!r} has no target") from error
        if not isinstance(found.contents, dict | bool):
            raise RequestError(f"the target of {reference[:200]!r} is no schema")
        return _Found(found.contents, _Resolver(found.resolver, self.budget))

    def in_subresource(self, resource: Any) -> _Resolver:
        """Enter a schema."""
        self.budget.spend()
        inner = self.inner.in_subresource(resource)
        return self if inner is self.inner else _Resolver(inner, self.budget)

    def dynamic_scope(self) -> Any:
        """Return the schemas entered by references so far."""
        return self.inner.dynamic_scope()


def _require_frames(count: int) -> None:
    """Raise RecursionError unless so many frames are left; inside referencing's Rust it would be a panic."""
    if count > 0:
        _require_frames(count - 1)


@dataclass(frozen=True, slots=True)
class Validator:
    """A schema ready to check values; it is well formed."""

    inner: Any
    resolver: Any

    @classmethod
    def of(cls, schema: Schema, draft: str) -> Validator:
        """Prepare the check by the rules of a draft, given as its address."""
        contents = _of_one_draft(schema)
        resolver = REGISTRY.resolver_with_root(specification_with(draft).create_resource(contents))
        return cls(_validator_class(draft)(contents), resolver)

    def problem(self, value: Any) -> str | None:
        """Say what is wrong with a value and where; None if it fits. RequestError if the check takes too long."""
        check = self.inner.evolve(_resolver=_Resolver(self.resolver, _Budget()))
        error = next(check.iter_errors(value), None)
        return None if error is None else f"{error.json_path}: {error.message[:300]}"


@lru_cache(maxsize=16)
def _validator_class(draft: str) -> Any:
    """Return jsonschema's class of a draft with our keywords; making one takes a millisecond."""
    base = validator_for({"$schema": draft}, default=Draft202012Validator)
    known = "unevaluatedProperties" in base.VALIDATORS
    unevaluated = {"unevaluatedProperties": unevaluated_properties} if known else {}
    dependencies = base.VALIDATORS.get("dependencies", Draft7Validator.VALIDATORS["dependencies"])
    return extend(base, {"dependencies": dependencies} | KEYWORDS | unevaluated)  # type: ignore[no-untyped-call]


def _of_one_draft(schema: Schema) -> Any:
    """Leave `$schema` out: with it, jsonschema would use its own keywords."""

    def undrafted(node: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in node.items() if key != "$schema"} if "$schema" in node else node

    return rewrite(schema, undrafted)


def _format(_: Any, name: Any, value: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not fits_format(name, value):
        yield ValidationError(f"{value!r} is no {name}")


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not compiled_search(pattern)(value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, value: Any, _: Any) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    for pattern, schema in patterns.items():
        search = compiled_search(pattern)
        for name, item in value.items():
            if search(name):
                yield from validator.descend(item, schema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, schema: Any, value: Any, parent: Any) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    declared = parent.get("properties", {})
    searches = [compiled_search(pattern) for pattern in parent.get("patternProperties", {})]
    for name, item in value.items():
        if name in declared or any(search(name) for search in searches):
            continue
        if schema is False:
            yield ValidationError(f"{name!r} is not declared")
        else:
            yield from validator.descend(item, schema, path=name)


def _items(validator: Any, schemas: Any, value: Any, parent: Any) -> Iterator[ValidationError]:
    """Check `items` by 2020-12; a list, the form of older drafts, stands for `prefixItems`."""
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
    """Return the checks of a bound; `exclusive` is a Boolean in draft 4, a second bound in later drafts."""

    def inclusive_bound(_: Any, bound: Any, value: Any, parent: Any) -> Iterator[ValidationError]:
        strict = parent.get(exclusive) is True
        if _is_number(value) and (sign * value < sign * bound or (strict and value == bound)):
            yield ValidationError(f"{value} is beyond the {keyword} of {bound}")

    def exclusive_bound(_: Any, bound: Any, value: Any, __: Any) -> Iterator[ValidationError]:
        if _is_number(value) and _is_number(bound) and sign * value <= sign * bound:
            yield ValidationError(f"{value} is beyond the {exclusive} of {bound}")

    return {keyword: inclusive_bound, exclusive: exclusive_bound}


def _multiple_of(_: Any, unit: Any, value: Any, __: Any) -> Iterator[ValidationError]:
    """Check numbers as decimals: 19.99 is a multiple of 0.01, though not as a float."""
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
"""Keywords that mean the same in every draft here, or that jsonschema checks without a limit of time."""
