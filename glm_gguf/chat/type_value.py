"""JSON values converted to hinted types: models, enums, dataclasses, dates, and lists and dicts of them."""

from __future__ import annotations

import dataclasses
import enum
import sys
import typing
from typing import Any

from glm_gguf.chat.type_schema import (
    DICTS,
    JSON_TYPES,
    LISTS,
    SETS,
    TEXT_FORMATS,
    UNIONS,
    class_hints,
    is_model,
    is_named_tuple,
    is_typed_dict,
    model_adapter,
    other_adapter,
    resolved,
)
from glm_gguf.errors import RequestError


def from_json(value: Any, hint: Any) -> Any:
    """Convert a JSON value to a hinted type; RequestError, ValueError or TypeError if it does not fit."""
    hint = resolved(hint)
    origin, members = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _annotated(value, hint, members)
    if origin in UNIONS:
        return _from_union(value, members)
    if isinstance(value, list) and (origin in LISTS or hint in LISTS):
        return _from_list(value, origin or hint, members)
    if isinstance(value, dict) and origin in DICTS and len(members) == 2:
        return {_key(key, members[0]): from_json(item, members[1]) for key, item in value.items()}
    return _instance(value, hint) if isinstance(hint, type) and origin is None else _other(value, hint)


def validated(value: Any, hint: Any) -> Any:
    """Make a value of a type by pydantic; RequestError says in one line what is wrong."""
    try:
        return model_adapter(hint).validate_python(value)
    except ValueError as error:  # pydantic's ValidationError is one
        raise RequestError(" ".join(str(error).split())[:300]) from error


def _annotated(value: Any, hint: Any, members: tuple[Any, ...]) -> Any:
    """Validate by pydantic if it is loaded and the notes are more than texts: they may hold validators."""
    if "pydantic" not in sys.modules or all(isinstance(note, str) for note in members[1:]):
        return from_json(value, members[0])
    try:
        model_adapter(hint)
    except RequestError:  # a type that pydantic does not know
        return from_json(value, members[0])
    return validated(value, hint)


def _from_list(value: list[Any], origin: Any, members: tuple[Any, ...]) -> Any:
    if origin is tuple and members and members[-1] is not ...:
        return tuple(from_json(item, member) for item, member in zip(value, members, strict=True))
    items = [from_json(item, members[0]) for item in value] if members else value
    if origin in SETS:
        return frozenset(items) if origin is frozenset else set(items)
    return tuple(items) if origin is tuple else items


def _key(key: str, hint: Any) -> Any:
    """Convert a key of an object, which is a text in JSON."""
    return int(key) if resolved(hint) is int else from_json(key, hint)


def _other(value: Any, hint: Any) -> Any:
    """Make a value of a type that pydantic alone knows; a value of any other type stays."""
    adapter = other_adapter(hint)
    if adapter is None:
        return value
    return validated(value, hint)


def _instance(value: Any, kind: type) -> Any:
    if kind in JSON_TYPES:
        return int(value) if kind is int and isinstance(value, float) and value.is_integer() else value
    if kind in TEXT_FORMATS and isinstance(value, str):
        return kind.fromisoformat(value) if hasattr(kind, "fromisoformat") else kind(value)
    if issubclass(kind, enum.Enum):
        return kind(value)
    if is_model(kind):
        return validated(value, kind)
    if is_named_tuple(kind) and isinstance(value, list):
        members = class_hints(kind).values()
        return kind(*(from_json(item, hint) for item, hint in zip(value, members, strict=False)))
    if not (is_typed_dict(kind) or dataclasses.is_dataclass(kind)):
        return _other(value, kind)
    if not isinstance(value, dict):
        return value
    hints = class_hints(kind)
    made = {name: from_json(item, hints[name]) for name, item in value.items()}
    return made if is_typed_dict(kind) else kind(**made)


def _from_union(value: Any, members: tuple[Any, ...]) -> Any:
    """Return the value if a member is its type, else the result of the first member that converts it."""
    if type(value) in members:
        return value
    for member in members:
        try:
            made = from_json(value, member)
        except (RequestError, ValueError, TypeError, KeyError):
            continue
        if made is not value:
            return made
    return value
