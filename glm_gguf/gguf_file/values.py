"""Values of GGUF keys: numbers, texts and arrays, each with the type the file declares."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

Number = int | float | bool


class ValueType(IntEnum):
    """Type of a key's value; the numbers are enum gguf_type of ggml's gguf.h."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12

    @property
    def label(self) -> str:
        """The short name ggml prints: u8, f32, str."""
        return LABELS[self]


LABELS: Final = {
    ValueType.UINT8: "u8",
    ValueType.INT8: "i8",
    ValueType.UINT16: "u16",
    ValueType.INT16: "i16",
    ValueType.UINT32: "u32",
    ValueType.INT32: "i32",
    ValueType.FLOAT32: "f32",
    ValueType.BOOL: "bool",
    ValueType.STRING: "str",
    ValueType.ARRAY: "arr",
    ValueType.UINT64: "u64",
    ValueType.INT64: "i64",
    ValueType.FLOAT64: "f64",
}

STRUCT_CODES: Final[Mapping[ValueType, str]] = {
    ValueType.UINT8: "B",
    ValueType.INT8: "b",
    ValueType.UINT16: "H",
    ValueType.INT16: "h",
    ValueType.UINT32: "I",
    ValueType.INT32: "i",
    ValueType.FLOAT32: "f",
    ValueType.BOOL: "B",
    ValueType.UINT64: "Q",
    ValueType.INT64: "q",
    ValueType.FLOAT64: "d",
}
"""How `struct` reads each type of fixed size; a bool is read as its byte, which must be 0 or 1."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """One number or truth value of the declared type."""

    type: ValueType
    value: Number

    def __post_init__(self) -> None:
        _require_fixed_size(self.type)


@dataclass(frozen=True, slots=True)
class Text:
    """One string."""

    value: str


@dataclass(frozen=True, slots=True)
class NumberArray:
    """Numbers of one declared type."""

    item_type: ValueType
    items: tuple[Number, ...]

    def __post_init__(self) -> None:
        _require_fixed_size(self.item_type)


@dataclass(frozen=True, slots=True)
class TextArray:
    """Strings: a vocabulary, its merges."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NestedArray:
    """Arrays in an array: the format allows them, llama.cpp refuses the file."""

    items: tuple[Array, ...]


Array = NumberArray | TextArray | NestedArray
Value = Scalar | Text | Array
Metadata = Mapping[str, Value]


Plain = Number | str | tuple["Plain", ...]
"""A value without its declared type."""


def plain_value(value: Value) -> Plain:
    """Return a key's value as Python has it: a number, a truth value, a text, or a tuple of them."""
    match value:
        case Scalar() | Text():
            return value.value
        case NestedArray(items=arrays):
            return tuple(plain_value(array) for array in arrays)
    return value.items


def type_label(value: Value) -> str:
    """The declared type in ggml's words: `u32`, `str`, `[i32, 151552]`."""
    match value:
        case Scalar(type=kind):
            return kind.label
        case Text():
            return ValueType.STRING.label
        case NumberArray(item_type=kind, items=items):
            return f"[{kind.label}, {len(items)}]"
        case TextArray(items=texts):
            return f"[{ValueType.STRING.label}, {len(texts)}]"
        case NestedArray(items=arrays):
            return f"[{ValueType.ARRAY.label}, {len(arrays)}]"


def text(metadata: Metadata, key: str) -> str | None:
    """The string under a key; None if there is none, or if it has another type."""
    value = metadata.get(key)
    return value.value if isinstance(value, Text) else None


def integer(metadata: Metadata, key: str) -> int | None:
    """The whole number under a key; None if there is none, or if it has another type."""
    value = metadata.get(key)
    if not isinstance(value, Scalar) or isinstance(value.value, bool | float):
        return None
    return value.value


def decimal(metadata: Metadata, key: str) -> float | None:
    """The floating-point number under a key; None if there is none, or if it has another type."""
    value = metadata.get(key)
    return value.value if isinstance(value, Scalar) and isinstance(value.value, float) else None


def truth(metadata: Metadata, key: str) -> bool | None:
    """The truth value under a key; None if there is none, or if it has another type."""
    value = metadata.get(key)
    return value.value if isinstance(value, Scalar) and isinstance(value.value, bool) else None


def texts(metadata: Metadata, key: str) -> tuple[str, ...] | None:
    """The strings under a key; None if there are none, or if they have another type."""
    value = metadata.get(key)
    return value.items if isinstance(value, TextArray) else None


def numbers(metadata: Metadata, key: str) -> tuple[Number, ...] | None:
    """The array of numbers under a key; None if there is none, or if it has another type."""
    value = metadata.get(key)
    return value.items if isinstance(value, NumberArray) else None


def is_of_its_type(value: Scalar) -> bool:
    """Whether the declared type holds the number."""
    try:
        struct.pack(f"<{STRUCT_CODES[value.type]}", value.value)
    except (struct.error, OverflowError):
        return False
    return True


def _require_fixed_size(kind: ValueType) -> None:
    if kind not in STRUCT_CODES:
        raise ValueError(f"{kind.label} is not a number's type")
