"""What a schema may cost: its size, depth and counts are checked before anything is built from it."""

from __future__ import annotations

import re
from itertools import chain
from typing import Any, NoReturn

from glm_gguf.errors import RequestError
from glm_gguf.schema.ecma_regex import unfolded_length
from glm_gguf.schema.walk import Place, Schema, subschemas

MOST_CHARACTERS = 2_000_000
MOST_DEPTH = 96  # levels of lists and objects; the largest published schemas stay below 40
MOST_DECLARED = 60_000  # schemas in one, used or not; Renovate's has 20,000
MOST_USED = 20_000  # with every reference followed; Vega-Lite's has 8,000
MOST_NAMES = 5_000  # of one object; far above, llguidance runs out of stack
MOST_OPTIONAL = 4_000  # of those; each takes four of the 20,000 items that llguidance may have in a row
MOST_CHOICES = 20_000
MOST_CHAIN = 100  # references that lead only to a reference; jsonschema runs out of stack at about 400
MOST_REPEATS = 100_000
MOST_PATTERN = 10_000
SIMPLER = "give a simpler schema"
_LISTED = frozenset(("properties", "required", "anyOf", "oneOf", "allOf", "patternProperties"))
_LEAST = frozenset(("minLength", "minItems", "minProperties"))


def require_modest(schema: object, text: str, field: str) -> None:
    """Raise RequestError for a value that is too deep or too large to be read as a schema; `text` is its JSON."""
    if len(text) > MOST_CHARACTERS:
        raise RequestError(f"the schema has more than {MOST_CHARACTERS} characters", field=field, fix=SIMPLER)
    if not text.isascii() and re.search("[\ud800-\udfff]", text):
        fix = "give whole characters"
        raise RequestError("it holds half of a surrogate pair, which UTF-8 cannot encode", field=field, fix=fix)
    level, values = 0, [schema]
    while values:
        if level > MOST_DEPTH:
            raise RequestError(f"the schema has more than {MOST_DEPTH} levels", field=field, fix=SIMPLER)
        objects = [value for value in values if isinstance(value, dict)]
        if not all(isinstance(key, str) for value in objects for key in value):
            raise RequestError("a key is no text", field=field, fix="give every key as a string")
        lists = [value for value in values if isinstance(value, list | tuple)]
        values = [*chain.from_iterable(value.values() for value in objects), *chain.from_iterable(lists)]
        level += 1


def modest_nodes(schema: Schema, field: str) -> list[dict[str, Any]]:
    """Return a schema and all schemas in it; RequestError if they are too many, or one costs too much."""
    nodes: list[dict[str, Any]] = []
    for place, node in subschemas(schema, Place(field)):
        if len(nodes) == MOST_DECLARED:
            refuse_many(MOST_DECLARED, field)
        _require_modest_node(node, place)
        nodes.append(node)
    return nodes


def refuse_many(most: int, field: str) -> NoReturn:
    """Raise RequestError for a schema of more than `most` schemas."""
    raise RequestError(f"the schema consists of more than {most} schemas", field=field, fix=SIMPLER)


def _require_modest_node(node: dict[str, Any], place: Place) -> None:
    """Raise RequestError for a keyword whose value costs too much."""
    for key, value in node.items():
        if key == "enum" and isinstance(value, list) and len(value) > MOST_CHOICES:
            raise RequestError(
                f"{len(value)} choices are too many", field=f"{place}/enum", fix=f"give up to {MOST_CHOICES}"
            )
        if key in _LISTED and isinstance(value, list | dict) and len(value) > MOST_NAMES:
            raise RequestError(
                f"{len(value)} entries are too many", field=f"{place}/{key}", fix=f"give up to {MOST_NAMES}"
            )
        if key == "properties" and isinstance(value, dict) and (optional := _optional(node)) > MOST_OPTIONAL:
            fix = f"give up to {MOST_OPTIONAL}, or require some"
            raise RequestError(f"{optional} optional properties are too many", field=f"{place}/{key}", fix=fix)
        if key in _LEAST and isinstance(value, int | float) and value > MOST_REPEATS:
            raise RequestError(
                f"a minimum of {value} is too large", field=f"{place}/{key}", fix=f"ask for up to {MOST_REPEATS}"
            )
        patterns = [value] if key == "pattern" and isinstance(value, str) else ()
        for text in value if key == "patternProperties" and isinstance(value, dict) else patterns:
            if len(text) > MOST_PATTERN or unfolded_length(text) > MOST_REPEATS:
                raise RequestError("the pattern is too large", field=str(place), fix="give a shorter pattern")


def _optional(node: dict[str, Any]) -> int:
    """Count the properties that an object may leave out."""
    required = node.get("required")
    names = frozenset(name for name in required if isinstance(name, str)) if isinstance(required, list) else frozenset()
    return len(node["properties"].keys() - names)
