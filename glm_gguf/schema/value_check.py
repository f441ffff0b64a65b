"""The check of a finished value against a schema, by the jsonschema package; nothing is fetched from the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.validators import extend, validator_for
from jsonschema_specifications import REGISTRY
from referencing.exceptions import Unresolvable

from glm_gguf.errors import RequestError
from glm_gguf.schema.patterns import compiled_search
from glm_gguf.schema.walk import Schema

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
        base = validator_for(schema, default=Draft202012Validator)
        keywords: dict[str, Keyword] = {
            "pattern": _pattern,
            "patternProperties": _pattern_properties,
            "additionalProperties": _additional_properties,
        }
        self._budget = _Budget()
        if "$ref" in base.VALIDATORS:
            keywords["$ref"] = _counted(base.VALIDATORS["$ref"], self._budget)
        kept = {name: check for name, check in keywords.items() if name in base.VALIDATORS}
        checker = getattr(base, "FORMAT_CHECKER", FormatChecker())
        extended = extend(base, kept)  # type: ignore[no-untyped-call]
        self._validator = extended(schema, registry=REGISTRY, format_checker=checker)

    def problem(self, value: Any) -> str | None:
        """Say what is wrong with a value and where; None where it fits."""
        self._budget.left = MOST_REFERENCES
        try:
            error = next(self._validator.iter_errors(value), None)
        except Unresolvable as unresolved:
            raise RequestError(f"the reference {unresolved.ref!r} leads nowhere", where=self._where) from unresolved
        except (TypeError, ValueError, AttributeError, LookupError, RecursionError, ArithmeticError) as broken:
            # What jsonschema's keywords raise on values that no schema may have.
            raise RequestError(f"no JSON Schema: {type(broken).__name__}: {broken}", where=self._where) from broken
        return None if error is None else f"{error.json_path}: {error.message[:300]}"


def _counted(follow: Keyword, budget: _Budget) -> Keyword:
    """Return a keyword's check that spends of a budget."""

    def counted(validator: Any, reference: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
        budget.spend()
        yield from follow(validator, reference, value, schema) or ()

    return counted


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
