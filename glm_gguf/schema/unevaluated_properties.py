"""`unevaluatedProperties` with our pattern search; jsonschema's own has no limit of time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jsonschema import ValidationError
from referencing.jsonschema import lookup_recursive_ref

from glm_gguf.schema.pattern_search import compiled_search


def unevaluated_properties(validator: Any, _: Any, value: Any, parent: Any) -> Iterator[ValidationError]:
    """Check the properties that no keyword of a schema, or of schemas it applies, evaluates."""
    if isinstance(value, dict):
        for name in sorted(value.keys() - _evaluated(validator, value, parent)):
            yield ValidationError(f"{name!r} is not declared, and unevaluatedProperties refuses it")


def _evaluated(validator: Any, value: dict[str, Any], schema: Any) -> set[str]:
    """Return the names of properties that a schema evaluates."""
    if not isinstance(schema, dict):
        return set()
    names = _by_properties(validator, value, schema)
    for applied in _applied(validator, value, schema):
        names |= _evaluated(validator, value, applied)
    for found in _referenced(validator, schema):
        entered = validator.evolve(schema=found.contents, _resolver=found.resolver)
        names |= _evaluated(entered, value, found.contents)
    return names


def _by_properties(validator: Any, value: dict[str, Any], schema: dict[str, Any]) -> set[str]:
    """Return the names that a schema's own keywords evaluate."""
    names = {name for name in schema.get("properties", {}) if name in value}
    for pattern in schema.get("patternProperties", {}):
        names.update(filter(compiled_search(pattern), value))
    for keyword in ("additionalProperties", "unevaluatedProperties"):
        if keyword in schema:
            names.update(name for name, item in value.items() if _fits(validator, item, schema[keyword]))
    return names


def _applied(validator: Any, value: dict[str, Any], schema: dict[str, Any]) -> Iterator[Any]:
    """Yield the schemas in a schema that apply to the same value and that the value fits."""
    for name, dependent in schema.get("dependentSchemas", {}).items():
        if name in value:
            yield dependent
    for keyword in ("allOf", "anyOf", "oneOf"):
        yield from (option for option in schema.get(keyword, ()) if _fits(validator, value, option))
    if "if" in schema:
        holds = _fits(validator, value, schema["if"])
        yield from [schema["if"], schema.get("then", True)] if holds else [schema.get("else", True)]


def _referenced(validator: Any, schema: dict[str, Any]) -> Iterator[Any]:
    """Yield the targets of a schema's references."""
    for keyword in ("$ref", "$dynamicRef"):
        if keyword in schema:
            yield validator._resolver.lookup(schema[keyword])
    if "$recursiveRef" in schema:
        yield lookup_recursive_ref(validator._resolver)


def _fits(validator: Any, value: Any, schema: Any) -> bool:
    return next(validator.descend(value, schema), None) is None
