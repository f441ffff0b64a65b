"""Type hints to JSON schemas."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import importlib.util
import inspect
import pathlib
import sys
import types
import typing
import uuid
from collections.abc import Collection, Iterable, Mapping, MutableMapping, MutableSequence, MutableSet, Sequence, Set
from typing import Any, Final

from glm_gguf.chat.annotations import annotated
from glm_gguf.chat.plain_value import plain
from glm_gguf.errors import RequestError
from glm_gguf.schema.walk import subschemas

JSON_TYPES: Final = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
SETS: Final = (set, frozenset, Set, MutableSet)
LISTS: Final = (list, tuple, Sequence, MutableSequence, Collection, Iterable, *SETS)
DICTS: Final = (dict, Mapping, MutableMapping)
UNIONS: Final = (typing.Union, types.UnionType)
TEXT_FORMATS: Final[Mapping[type, str | None]] = {
    datetime.datetime: "date-time",
    datetime.date: "date",
    datetime.time: "time",
    uuid.UUID: "uuid",
    decimal.Decimal: None,
    pathlib.Path: None,
}
"""Class whose values are texts in JSON → the format of the text."""
INTEGERS: Final = "^(0|-?[1-9][0-9]*)$"
"""Keys of a dict that are whole numbers; JSON's keys are texts."""
FREE: Final = (Any, object, inspect.Parameter.empty)
"""Hints of any value."""
_PRESENCE = ("Required", "NotRequired", "ReadOnly", "ClassVar", "Final")

Inside = tuple[type, ...]
"""The classes around the one described."""


def hint_schema(hint: Any, inside: Inside = ()) -> dict[str, Any]:
    """Return the JSON schema of a type hint; {} for a hint without a JSON form."""
    hint = resolved(hint)
    origin, members = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return annotated(hint_schema(members[0], inside), members[1:])
    if origin is typing.Literal:
        return {"enum": [plain(member) for member in members]}
    if origin in UNIONS:
        return {"anyOf": [hint_schema(member, inside) for member in members]}
    if hint in LISTS or origin in LISTS:
        return _list_schema(origin or hint, members, inside)
    if hint in DICTS or origin in DICTS:
        return _dict_schema(members, inside)
    return _class_schema(hint, inside) if isinstance(hint, type) else _other_schema(hint)


def resolved(hint: Any) -> Any:
    """Return the hint inside a NewType, a type alias or a mark of presence."""
    if getattr(typing.get_origin(hint), "_name", "") in _PRESENCE:
        return resolved(typing.get_args(hint)[0])
    for name in ("__supertype__", "__value__"):
        if hasattr(hint, name) and not isinstance(hint, type):
            return resolved(getattr(hint, name))
    return hint


def is_type(value: object) -> bool:
    """Tell a class or a type hint from other values."""
    return isinstance(value, type) or typing.get_origin(value) is not None


def answer_schema(hint: Any) -> dict[str, Any]:
    """Return the schema of an answer that becomes a value of a type; objects hold only declared fields."""
    schema = with_definitions(hint_schema(hint))
    if not schema and resolved(hint) not in FREE:
        raise RequestError(f"{hint!r} has no JSON form", fix="give a pydantic model, a dataclass or a TypedDict")
    for _, node in subschemas(schema):
        if "properties" in node:
            node.setdefault("additionalProperties", False)
    return schema


def with_definitions(schema: dict[str, Any]) -> dict[str, Any]:
    """Move the definitions of nested models to the root, where their references point."""
    definitions: dict[str, Any] = {}
    for _, node in list(subschemas(schema)):
        for name, definition in node.pop("$defs", {}).items():
            if definitions.setdefault(name, definition) != definition:
                raise RequestError(f"two models are named {name!r}", where=name, fix="rename one of them")
    return schema | ({"$defs": definitions} if definitions else {})


def is_model(kind: object) -> bool:
    """Tell pydantic's models and dataclasses from other classes, without importing pydantic."""
    return isinstance(kind, type) and hasattr(kind, "__pydantic_core_schema__")


def model_adapter(hint: Any) -> Any:
    """Return pydantic's TypeAdapter of a type; RequestError if pydantic has none."""
    try:
        return sys.modules["pydantic"].TypeAdapter(hint)
    except (TypeError, NameError, RuntimeError) as error:  # pydantic's own derive from these
        raise _no_schema(hint, error) from error


def _no_schema(hint: Any, error: Exception) -> RequestError:
    name = getattr(hint, "__name__", str(hint))
    return RequestError(f"pydantic makes no JSON schema of it: {str(error).splitlines()[0]}", where=name)


def is_named_tuple(kind: type) -> bool:
    """Tell a NamedTuple from other classes."""
    return issubclass(kind, tuple) and hasattr(kind, "_fields")


def is_typed_dict(kind: type) -> bool:
    """Tell a TypedDict, of typing or of typing_extensions, from other classes."""
    return issubclass(kind, dict) and hasattr(kind, "__required_keys__")


def class_hints(kind: type) -> dict[str, Any]:
    """Return the hints of a class's fields; RequestError if one has an unknown name."""
    try:
        return typing.get_type_hints(kind, include_extras=True)
    except (NameError, TypeError) as error:
        raise RequestError(f"a type hint cannot be read: {error}", where=kind.__name__) from error


def with_default(schema: dict[str, Any], default: Any) -> dict[str, Any]:
    """Return a schema with its default, if JSON can hold it."""
    try:
        return schema | {"default": plain(default)}
    except (TypeError, ValueError):
        return schema


def _list_schema(origin: Any, members: tuple[Any, ...], inside: Inside) -> dict[str, Any]:
    if origin is tuple and members and members[-1] is not ...:
        items = [hint_schema(member, inside) for member in members if member != ()]
        return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items), "maxItems": len(items)}
    unique = {"uniqueItems": True} if origin in SETS else {}
    return {"type": "array"} | ({"items": hint_schema(members[0], inside)} if members else {}) | unique


def _class_schema(kind: type, inside: Inside) -> dict[str, Any]:
    """Return the schema of a class: a JSON type, enum, pydantic model, TypedDict or dataclass."""
    if kind in JSON_TYPES:
        return {"type": JSON_TYPES[kind]}
    if kind in TEXT_FORMATS:
        form = TEXT_FORMATS[kind]
        return {"type": "string"} | ({"format": form} if form else {})
    if issubclass(kind, enum.Enum):
        return {"enum": [plain(member) for member in kind]}
    if is_model(kind):
        return _model_schema(kind)
    if kind in inside:
        raise RequestError(f"{kind.__name__} contains itself", where=kind.__name__, fix="write it as a pydantic model")
    if is_typed_dict(kind):
        hints = class_hints(kind)
        return _object(hints, [name for name in hints if _is_required(kind, name, hints[name])], {}, (*inside, kind))
    if is_named_tuple(kind):
        hints, least = class_hints(kind), len(kind._fields) - len(kind._field_defaults)  # type: ignore[attr-defined]
        items = [hint_schema(hint, (*inside, kind)) for hint in hints.values()]
        return {"type": "array", "prefixItems": items, "items": False, "minItems": least, "maxItems": len(items)}
    if dataclasses.is_dataclass(kind):
        return _dataclass_schema(kind, (*inside, kind))
    return _other_schema(kind)


def _dict_schema(members: tuple[Any, ...], inside: Inside) -> dict[str, Any]:
    """Return the schema of a dict; its keys are texts, also where the hint has numbers, or some texts only."""
    if len(members) != 2:
        return {"type": "object"}
    names, values = hint_schema(members[0], inside), hint_schema(members[1], inside)
    schema: dict[str, Any] = {"type": "object"} | ({"additionalProperties": values} if values else {})
    if "enum" in names:
        return schema | {"propertyNames": names, "additionalProperties": values or True}
    if resolved(members[0]) is int:
        return schema | {"propertyNames": {"pattern": INTEGERS}, "additionalProperties": values or True}
    return schema


def other_adapter(hint: Any) -> Any:
    """Return pydantic's TypeAdapter of a type that is none of ours, such as timedelta; None without pydantic or one."""
    if hint in FREE or importlib.util.find_spec("pydantic") is None:
        return None
    importlib.import_module("pydantic")
    try:
        adapter = model_adapter(hint)
        adapter.json_schema()
    except (RequestError, TypeError, NameError, RuntimeError, ValueError):
        return None
    return adapter


def _other_schema(hint: Any) -> dict[str, Any]:
    adapter = other_adapter(hint)
    schema: dict[str, Any] = {} if adapter is None else adapter.json_schema()
    return schema


def _model_schema(kind: type) -> dict[str, Any]:
    try:
        schema: dict[str, Any] = model_adapter(kind).json_schema()
    except (TypeError, NameError, RuntimeError, ValueError) as error:
        raise _no_schema(kind, error) from error
    return schema


def _is_required(kind: Any, name: str, hint: Any) -> bool:
    """Tell whether a TypedDict's key is required; Python itself misses marks in hints that are texts."""
    mark = getattr(typing.get_origin(hint), "_name", "")
    return mark == "Required" or (mark != "NotRequired" and name in kind.__required_keys__)


def _dataclass_schema(kind: Any, inside: Inside) -> dict[str, Any]:
    hints, fields = class_hints(kind), [field for field in dataclasses.fields(kind) if field.init]
    none = dataclasses.MISSING
    required = [field.name for field in fields if field.default is none and field.default_factory is none]
    defaults = {field.name: field.default for field in fields if field.default is not none}
    return _object({field.name: hints[field.name] for field in fields}, required, defaults, inside)


def _object(
    hints: Mapping[str, Any], required: list[str], defaults: Mapping[str, Any], inside: Inside
) -> dict[str, Any]:
    properties = {name: hint_schema(hint, inside) for name, hint in hints.items()}
    for name, default in defaults.items():
        properties[name] = with_default(properties[name], default)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
