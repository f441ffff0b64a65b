"""The keys and values of a GGUF file, checked as by ggml's gguf.cpp, and a little more strictly."""

from __future__ import annotations

from typing import Final

from glm_gguf.gguf_file.cursor import Cursor
from glm_gguf.gguf_file.values import (
    STRUCT_CODES,
    Array,
    NestedArray,
    Number,
    NumberArray,
    Scalar,
    Text,
    TextArray,
    Value,
    ValueType,
)

MAX_KEYS: Final = 2**16
MAX_KEY_BYTES: Final = 2**16 - 1
"""The GGUF specification's limit."""
MAX_ARRAY_DEPTH: Final = 4
SMALLEST_ENTRY: Final = 14
"""Bytes: length of the key, one byte of key, type, one byte of value."""

_ITEM_BYTES: Final = {ValueType.STRING: 8, ValueType.ARRAY: 12}
"""Least bytes of an item without a fixed size: a length; an item type and a length."""
_FIXED_BYTES: Final = {"B": 1, "b": 1, "H": 2, "h": 2, "I": 4, "i": 4, "f": 4, "Q": 8, "q": 8, "d": 8}


def read_metadata(cursor: Cursor, count: int) -> dict[str, Value]:
    """Read `count` keys with their values; each key may occur once."""
    metadata: dict[str, Value] = {}
    for index in range(count):
        cursor.subject = f"key {index}"
        start = cursor.position
        key = read_name(cursor, MAX_KEY_BYTES)
        cursor.subject = f"key {key!r}"
        if key in metadata:
            raise cursor.error("this key occurs twice", at=start, fix="convert the model again")
        metadata[key] = _read_value(cursor)
    return metadata


def read_name(cursor: Cursor, limit: int) -> str:
    """Read the name of a key or tensor: at least one byte, at most `limit`, no NUL."""
    start = cursor.position
    name = cursor.string(limit)
    if not name:
        raise cursor.error("a name is empty", at=start, fix="convert the model again")
    if "\0" in name:
        # ggml copies names as C strings, so that a name with a NUL could pass for another one.
        raise cursor.error(f"the name {name!r} holds a NUL character", at=start, fix="convert the model again")
    return name


def _read_value(cursor: Cursor) -> Value:
    kind = _read_type(cursor)
    if kind is ValueType.STRING:
        return Text(cursor.string())
    if kind is ValueType.ARRAY:
        return _read_array(cursor, depth=1)
    return Scalar(kind, _read_numbers(cursor, kind, 1)[0])


def _read_type(cursor: Cursor) -> ValueType:
    start = cursor.position
    number = cursor.unsigned("I")
    if number not in ValueType.__members__.values():
        raise cursor.error(f"the value has type {number}, but the types go from 0 to {max(ValueType)}", at=start)
    return ValueType(number)


def _read_array(cursor: Cursor, depth: int) -> Array:
    if depth > MAX_ARRAY_DEPTH:
        raise cursor.error(
            f"arrays are nested deeper than {MAX_ARRAY_DEPTH} levels", fix="check where the file comes from"
        )
    kind = _read_type(cursor)
    count = cursor.unsigned("Q")
    item_bytes = _ITEM_BYTES[kind] if kind in _ITEM_BYTES else _FIXED_BYTES[STRUCT_CODES[kind]]
    cursor.spend_items(count, item_bytes)
    if kind is ValueType.STRING:
        return TextArray(tuple([cursor.string() for _ in range(count)]))
    if kind is ValueType.ARRAY:
        return NestedArray(tuple([_read_array(cursor, depth + 1) for _ in range(count)]))
    return NumberArray(kind, _read_numbers(cursor, kind, count))


def _read_numbers(cursor: Cursor, kind: ValueType, count: int) -> tuple[Number, ...]:
    start = cursor.position
    values = cursor.unpack(STRUCT_CODES[kind], count)
    if kind is not ValueType.BOOL:
        return values
    if any(value > 1 for value in values):
        raise cursor.error(f"a truth value is stored as {max(values)}, but only 0 and 1 are allowed", at=start)
    return tuple(map(bool, values))
