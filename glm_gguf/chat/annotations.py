"""Notes beside a type, as in Annotated[int, Field(ge=1)]: pydantic's Field, annotated_types and plain texts.

Notes are recognised by their attributes: none of these libraries is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

SchemaObject = dict[str, Any]

_NUMBERS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}
_KEYWORDS: Mapping[str, Mapping[str, str]] = {
    "integer": _NUMBERS,
    "number": _NUMBERS,
    "string": {"min_length": "minLength", "max_length": "maxLength", "pattern": "pattern"},
    "array": {"min_length": "minItems", "max_length": "maxItems"},
    "object": {"min_length": "minProperties", "max_length": "maxProperties"},
}
"""JSON type → attribute of a note → keyword."""


def annotated(schema: SchemaObject, notes: Iterable[Any]) -> SchemaObject:
    """Return a schema with descriptions, titles, examples, bounds, lengths and patterns from notes."""
    for note in notes:
        if isinstance(note, str):
            schema = {"description": note} | schema
            continue
        schema = schema | _told(note)
        for bound in (note, *_grouped(note)):
            schema = _bounded(schema, bound)
    return schema


def is_field(value: object) -> bool:
    """Tell pydantic's FieldInfo, and what derives from it, from other values."""
    return any(kind.__name__ == "FieldInfo" for kind in type(value).__mro__)


def _told(note: object) -> SchemaObject:
    """Return the annotations of a note: keywords that restrict no values."""
    told: SchemaObject = {}
    for name in ("title", "description", "documentation"):
        if isinstance(text := getattr(note, name, None), str):
            told["description" if name == "documentation" else name] = text
    if isinstance(examples := getattr(note, "examples", None), list):
        told["examples"] = examples
    extra = getattr(note, "json_schema_extra", None)
    return told | extra if isinstance(extra, dict) else told


def _grouped(note: object) -> Iterator[Any]:
    """Return the notes in a Field."""
    metadata = getattr(note, "metadata", ())
    yield from metadata if isinstance(metadata, list | tuple) else ()


def _bounded(schema: SchemaObject, note: object) -> SchemaObject:
    """Add the bounds of a note to each alternative of a schema with the right type."""
    if "anyOf" in schema:
        return schema | {"anyOf": [_bounded(member, note) for member in schema["anyOf"]]}
    keywords = _KEYWORDS.get(schema.get("type", ""), {})
    given = {keyword: getattr(note, name, None) for name, keyword in keywords.items()}
    bounds = {keyword: value for keyword, value in given.items() if type(value) in (int, float, str)}
    return schema | bounds
