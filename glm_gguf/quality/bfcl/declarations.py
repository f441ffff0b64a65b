"""Functions of the Berkeley data as declarations of tools: their types are Python's, the model knows JSON Schema's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

TYPES: Final[Mapping[str, tuple[type[Any], str]]] = {
    "string": (str, "string"),
    "integer": (int, "integer"),
    "float": (float, "number"),
    "boolean": (bool, "boolean"),
    "array": (list, "array"),
    "tuple": (list, "array"),
    "dict": (dict, "object"),
    "any": (str, "string"),
}
"""Type in the data → the type that a value has in Python, and its name in JSON Schema."""
HINT: Final = " Note that the provided function is in Python 3 syntax."
FLOAT_HINT: Final = " This is a float type value."
"""Berkeley's program adds these words, so that scores can be compared only with them."""


def declared_name(name: str) -> str:
    """Return the name that the model calls: as for most models of the leaderboard, without dots."""
    return name.replace(".", "_")


def declaration(function: Mapping[str, Any]) -> dict[str, Any]:
    """Return a function in OpenAI's form."""
    described = f"{function.get('description', '')}{HINT}"
    parameters = {**function["parameters"], "type": "object"}
    parameters["properties"] = {name: _schema(one) for name, one in parameters["properties"].items()}
    told = {"name": declared_name(function["name"]), "description": described, "parameters": parameters}
    return {"type": "function", "function": told}


def function_fault(function: Any) -> str | None:
    """Say what a function lacks; None if it can be declared and its calls compared."""
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        return "has no name"
    parameters = function.get("parameters")
    if not isinstance(parameters, dict) or not isinstance(parameters.get("properties"), dict):
        return "has no properties"
    required = parameters.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        return "has `required` that is no list of names"
    for name, one in parameters["properties"].items():
        if not _is_known(one) or (TYPES[one["type"]][0] is list and not _is_known(one.get("items"))):
            return f"has no known type for {name!r}"
    return None


def _is_known(described: Any) -> bool:
    kind = described.get("type") if isinstance(described, dict) else None
    return isinstance(kind, str) and kind in TYPES


def _schema(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value's schema, with the types of JSON Schema at every depth."""
    schema = dict(described)
    kind = described.get("type", "any")
    schema["type"] = TYPES.get(kind, TYPES["any"])[1] if isinstance(kind, str) else "string"
    if kind == "float":
        schema |= {"format": "float", "description": f"{described.get('description', '')}{FLOAT_HINT}"}
    if isinstance(properties := described.get("properties"), Mapping):
        schema["properties"] = {name: _schema(one) for name, one in properties.items() if isinstance(one, Mapping)}
    if isinstance(items := described.get("items"), Mapping):
        schema["items"] = _schema(items)
        if schema["type"] == "array" and "enum" in schema:  # the data mean the items: no list is such a text
            schema["items"]["enum"] = schema.pop("enum")
    return schema
