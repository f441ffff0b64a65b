"""Random tool sets: nested schemas with all keywords that published declarations use."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

NAMES = (
    *("city", "date", "time", "query", "limit", "unit", "user", "items", "options", "price", "count", "mode"),
    *("text", "id", "tags", "filter", "start", "end", "城市", "日期"),
)
WORDS = ("red", "green", "blue", "small", "large", "celsius", "fahrenheit", "asc", "desc", "北京", "上海", "now")
PATTERNS = (r"^[a-z]{2,6}$", r"^\d{3}-\d{4}$", r"[A-Z]+", r"^(foo|bar)\d?$", r"^#[0-9a-f]{6}$", r"^[\w.]{1,8}@x\.org$")
FORMATS = (
    *("date", "time", "date-time", "uuid", "ipv4", "ipv6", "email", "hostname", "duration", "uri", "uri-reference"),
    *("json-pointer", "idn-email"),
)

Schema = dict[str, Any]


def tool_set(random: Random) -> list[dict[str, Any]]:
    """One to five functions with their own parameters."""
    names = random.sample(["get_weather", "get_wind", "search", "db.query", "send-mail", "天气", "set_alarm"], 5)
    return [_tool(random, name) for name in names[: random.randint(1, 5)]]


def _tool(random: Random, name: str) -> dict[str, Any]:
    parameters = object_schema(random, 0)
    if random.random() < 0.25:
        parameters = _with_reference(random, parameters)
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


def object_schema(random: Random, depth: int) -> Schema:
    """An object with some required properties; it is short whatever a model writes."""
    names = random.sample(NAMES, random.randint(1, 4 if depth else 6))
    properties = {name: value_schema(random, depth + 1) for name in names}
    schema: Schema = {"type": "object", "properties": properties}
    if random.random() < 0.8:
        schema["required"] = [name for name in names if random.random() < 0.6]
    schema["additionalProperties"] = False if random.random() < 0.8 else {"type": "boolean"}
    return schema


def value_schema(random: Random, depth: int) -> Schema:
    """A value of any type; containers only near the root."""
    kinds: list[Callable[[Random, int], Schema]] = [_text, _integer, _number, _enum, _simple, _patterned, _formatted]
    if depth < 3:
        kinds += [_array, _any_of, lambda random, depth: object_schema(random, depth)]
    return random.choice(kinds)(random, depth)


def _text(random: Random, _: int) -> Schema:
    low = random.randint(0, 3)
    return {"type": "string", "minLength": low, "maxLength": low + random.randint(1, 12)}


def _integer(random: Random, _: int) -> Schema:
    low = random.randint(-100, 100)
    schema: Schema = {"type": "integer", "minimum": low, "maximum": low + random.randint(0, 1000)}
    return schema if random.random() < 0.7 else {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 10}


def _number(random: Random, _: int) -> Schema:
    low = random.randint(-10, 10)
    return {"type": "number", "minimum": low + 0.5, "maximum": low + 7.25}


def _enum(random: Random, _: int) -> Schema:
    values = random.sample([*WORDS, 1, 2.5, None, True], random.randint(1, 5))
    return {"enum": values} if random.random() < 0.8 else {"const": values[0]}


def _simple(random: Random, _: int) -> Schema:
    return {"type": random.choice(["boolean", "null", ["boolean", "null"]])}


def _patterned(random: Random, _: int) -> Schema:
    return {"type": "string", "pattern": random.choice(PATTERNS), "maxLength": 16}


def _formatted(random: Random, _: int) -> Schema:
    return {"type": "string", "format": random.choice(FORMATS)}


def _array(random: Random, depth: int) -> Schema:
    low = random.randint(0, 2)
    schema: Schema = {"type": "array", "items": value_schema(random, depth + 1), "minItems": low}
    if random.random() < 0.2:
        schema["prefixItems"] = [value_schema(random, depth + 1)]
    return schema | {"maxItems": low + random.randint(1, 2)}


def _any_of(random: Random, depth: int) -> Schema:
    options = [value_schema(random, depth + 1) for _ in range(random.randint(2, 3))]
    return {"anyOf": options}


def _with_reference(random: Random, parameters: Schema) -> Schema:
    """Put a shared definition behind a reference."""
    shared = value_schema(random, 2)
    properties = parameters["properties"] | {"shared": {"$ref": "#/$defs/shared"}}
    return parameters | {"properties": properties, "$defs": {"shared": shared}}


UNENFORCED: tuple[Schema, ...] = (
    {"type": "array", "items": {"enum": [1, 2, 3]}, "minItems": 2, "maxItems": 2, "uniqueItems": True},
    {"type": "integer", "minimum": 0, "maximum": 9, "not": {"const": 7}},
    {"type": "string", "maxLength": 1, "pattern": "^(?!a)[abc]$"},
    {"oneOf": [{"type": "integer", "minimum": 0, "maximum": 5}, {"type": "integer", "minimum": 4, "maximum": 9}]},
)
"""Schemas with a keyword that no grammar enforces."""
