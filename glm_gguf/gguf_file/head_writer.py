"""The bytes of a GGUF file's head: keys and tensor list, as ggml's gguf.cpp writes them.

A head that was read and is written again has the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Final

from glm_gguf.gguf_file.header import MAGIC, GgufHeader
from glm_gguf.gguf_file.tensor_list import TensorEntry, align
from glm_gguf.gguf_file.values import (
    STRUCT_CODES,
    Array,
    NestedArray,
    NumberArray,
    Scalar,
    Text,
    TextArray,
    Value,
    ValueType,
)

VERSION: Final = 3
"""GGUF_VERSION of gguf.h."""


def encode_head(metadata: Mapping[str, Value], tensors: Iterable[TensorEntry], version: int = VERSION) -> bytes:
    """Return everything before the padding in front of the first tensor."""
    entries = [_entry(tensor) for tensor in tensors]
    start = MAGIC + struct.pack("<IQQ", version, len(entries), len(metadata))
    return b"".join((start, *(_text(key) + _tagged(value) for key, value in metadata.items()), *entries))


def head_of(file: GgufHeader) -> bytes:
    """Return the bytes of a file's head, padded to its first tensor."""
    entries = [TensorEntry(each.name, each.shape, each.type, each.offset - file.data_offset) for each in file.tensors]
    head = encode_head(file.metadata, entries, file.version)
    return head.ljust(align(len(head), file.alignment), b"\0") if entries else head


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _tagged(value: Value) -> bytes:
    """A key's type and value."""
    match value:
        case Scalar(type=kind, value=number):
            return struct.pack(f"<I{STRUCT_CODES[kind]}", kind, number)
        case Text(value=text):
            return struct.pack("<I", ValueType.STRING) + _text(text)
        case _:
            return struct.pack("<I", ValueType.ARRAY) + _array(value)


def _array(array: Array) -> bytes:
    """An array's item type, length and items."""
    length = len(array.items)
    match array:
        case NumberArray(item_type=kind, items=numbers):
            return struct.pack(f"<IQ{length}{STRUCT_CODES[kind]}", kind, length, *numbers)
        case TextArray(items=texts):
            return struct.pack("<IQ", ValueType.STRING, length) + b"".join(map(_text, texts))
        case NestedArray(items=arrays):
            return struct.pack("<IQ", ValueType.ARRAY, length) + b"".join(map(_array, arrays))


def _entry(tensor: TensorEntry) -> bytes:
    extents = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
    return _text(tensor.name) + extents + struct.pack("<IQ", tensor.type.id, tensor.data_offset)
