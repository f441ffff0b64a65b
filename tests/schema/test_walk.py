"""Schemas are rewritten without a copy of what stays, and places are written as JSON pointers."""

from __future__ import annotations

from typing import Any

from glm_gguf.schema.walk import Place, rewrite, subschemas

SCHEMA: dict[str, Any] = {
    "properties": {"a/b": {"type": "string"}, "c~": {"items": [{"minLength": 1}, {}]}},
    "allOf": [{"not": {"type": "null"}}],
    "enum": [{"properties": {}}],
}


def test_unchanged_schemas_are_the_same_object() -> None:
    assert rewrite(SCHEMA, lambda node: node) is SCHEMA

    changed = rewrite(SCHEMA, lambda node: {} if "minLength" in node else node)
    assert changed["properties"]["c~"] == {"items": [{}, {}]}
    assert SCHEMA["properties"]["c~"]["items"][0] == {"minLength": 1}
    assert changed["allOf"] is SCHEMA["allOf"]
    assert changed["enum"] is SCHEMA["enum"]
    assert changed["properties"]["a/b"] is SCHEMA["properties"]["a/b"]


def test_places_are_json_pointers_behind_where_the_schema_stands() -> None:
    assert [str(place) for place, _ in subschemas(SCHEMA, Place("tools[0].a/b"))] == [
        "tools[0].a/b",
        "tools[0].a/b/properties/a~1b",
        "tools[0].a/b/properties/c~0",
        "tools[0].a/b/properties/c~0/items/0",
        "tools[0].a/b/properties/c~0/items/1",
        "tools[0].a/b/allOf/0",
        "tools[0].a/b/allOf/0/not",
    ]
