"""Type hints and JSON: the schema of a hint, and a JSON value turned into what the hint asks for."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from glm_gguf.errors import RequestError

_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_LISTS = (list, tuple, set, frozenset, Sequence)
_UNIONS = (typing.Union, types.UnionType)


def hint_schema(hint: Any) -> dict[str, Any]:
    """Return the JSON schema of a type hint; anything goes where the hint says nothing JSON knows."""
    if hint in _JSON_TYPES:
        return {"type": _JSON_TYPES[hint]}
    origin, members = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        texts = [note for note in members[1:] if isinstance(note, str)]
        return hint_schema(members[0]) | ({"description": texts[0]} if texts else {})
    if origin is typing.Literal:
        return {"enum": list(members)}
    if origin in _UNIONS:
        return {"anyOf": [hint_schema(member) for member in members]}
    if hint in _LISTS or origin in _LISTS:
        return _list_schema(origin or hint, members)
    if hint is dict or origin in (dict, Mapping):
        values = hint_schema(members[1]) if len(members) == 2 else {}
        return {"type": "object"} | ({"additionalProperties": values} if values else {})
    return _class_schema(hint) if isinstance(hint, type) else {}


def from_json(value: Any, hint: Any) -> Any:
    """Turn a JSON value into what a hint asks for: models, enums, dataclasses, and lists and dicts of them."""
    origin, members = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return from_json(value, members[0])
    if origin in _UNIONS:
        return _from_union(value, members)
    if isinstance(value, list) and origin in _LISTS and members:
        items = [from_json(item, members[0]) for item in value]
        return items if origin in (list, Sequence) else origin(items)
    if isinstance(value, dict) and origin in (dict, Mapping) and len(members) == 2:
        return {key: from_json(item, members[1]) for key, item in value.items()}
    return _instance(value, hint) if isinstance(hint, type) and origin is None else value


def _list_schema(origin: Any, members: tuple[Any, ...]) -> dict[str, Any]:
    unique = {"uniqueItems": True} if origin in (set, frozenset) else {}
    return {"type": "array"} | ({"items": hint_schema(members[0])} if members else {}) | unique


def _class_schema(kind: type) -> dict[str, Any]:
    """Return the schema of a class: enum, pydantic model, TypedDict or dataclass."""
    if issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    if hasattr(kind, "model_json_schema"):
        schema: dict[str, Any] = kind.model_json_schema()
        return schema
    if typing.is_typeddict(kind):
        hints = typing.get_type_hints(kind)
        return _object(hints, [name for name in hints if name in kind.__required_keys__])  # type: ignore[attr-defined]
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        fields = {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}
        return _object(fields, [field.name for field in dataclasses.fields(kind) if _is_required(field)])
    return {}


def _object(hints: Mapping[str, Any], required: list[str]) -> dict[str, Any]:
    properties = {name: hint_schema(hint) for name, hint in hints.items()}
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _is_required(field: dataclasses.Field[Any]) -> bool:
    none = dataclasses.MISSING
    return field.init and field.default is none and field.default_factory is none


def _instance(value: Any, kind: type) -> Any:
    if issubclass(kind, enum.Enum):
        return kind(value)
    if hasattr(kind, "model_validate") and isinstance(value, dict):
        try:
            return kind.model_validate(value)
        except ValueError as error:  # pydantic's ValidationError is one
            raise RequestError(" ".join(str(error).split())[:300]) from error
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        hints = typing.get_type_hints(kind)
        return kind(**{name: from_json(item, hints[name]) for name, item in value.items()})
    return value


def _from_union(value: Any, members: tuple[Any, ...]) -> Any:
    """Take the first member that changes the value or stands for its JSON type."""
    for member in members:
        try:
            made = from_json(value, member)
        except (RequestError, ValueError, TypeError, KeyError):
            continue
        if made is not value:
            return made
    return value
