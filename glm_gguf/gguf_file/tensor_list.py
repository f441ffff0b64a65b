"""The list of tensors of a GGUF file and the layout of their data, checked as by ggml's gguf.cpp."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from glm_gguf.gguf_file.cursor import FETCH_AGAIN, Cursor
from glm_gguf.gguf_file.ggml_types import REMOVED, TYPE_COUNT, TYPES, GgmlType
from glm_gguf.gguf_file.metadata import read_name

MAX_TENSORS: Final = 2**16
MAX_NAME_BYTES: Final = 63
"""GGML_MAX_NAME of ggml.h, less the NUL."""
MAX_DIMENSIONS: Final = 4
"""GGML_MAX_DIMS of ggml.h."""
MAX_ELEMENTS: Final = 2**63 - 1
SMALLEST_ENTRY: Final = 33
"""Bytes: length of the name, one byte of name, number of dimensions, one dimension, type, offset."""

CONVERT_AGAIN: Final = "convert the model again"


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor: shape with the innermost dimension first, `n_bytes` bytes at byte `offset` of its file."""

    name: str
    shape: tuple[int, ...]
    type: GgmlType
    offset: int
    n_bytes: int

    def __post_init__(self) -> None:
        if not self.shape or min(self.shape) < 1 or self.offset < 0:
            raise ValueError(f"tensor {self.name} has shape {self.shape} at {self.offset}")

    @property
    def n_elements(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """A tensor as the list states it: `data_offset` counts from the start of the data section."""

    name: str
    shape: tuple[int, ...]
    type: GgmlType
    data_offset: int

    @property
    def n_bytes(self) -> int:
        """Bytes of data: whole blocks, as the reader has checked."""
        return math.prod(self.shape) // self.type.block_size * self.type.block_bytes


def read_tensor_list(cursor: Cursor, count: int) -> list[TensorEntry]:
    """Read `count` entries; each name may occur once."""
    entries: list[TensorEntry] = []
    names: set[str] = set()
    for index in range(count):
        cursor.subject = f"tensor {index}"
        start = cursor.position
        entry = _read_entry(cursor)
        if entry.name in names:
            raise cursor.error("this name occurs twice", at=start, fix=CONVERT_AGAIN)
        names.add(entry.name)
        entries.append(entry)
    return entries


def place_tensors(cursor: Cursor, entries: list[TensorEntry], alignment: int) -> tuple[TensorInfo, ...]:
    """Return the tensors; GgufError if they have gaps, which llama.cpp refuses, or end beyond the file."""
    data_start = align(cursor.position, alignment)
    expected = 0
    tensors = []
    for entry in entries:
        cursor.subject = f"tensor {entry.name!r}"
        start, n_bytes = data_start + expected, entry.n_bytes
        if entry.data_offset != expected:
            raise cursor.error(_wrong_offset(entry, expected, alignment), at=start, fix=CONVERT_AGAIN)
        if start + n_bytes > cursor.size:
            raise _cut_short(cursor, entries, start, data_start)
        tensors.append(TensorInfo(entry.name, entry.shape, entry.type, start, n_bytes))
        expected += align(n_bytes, alignment)
    return tuple(tensors)


def align(offset: int, alignment: int) -> int:
    """The first multiple of `alignment` (a power of two, bytes) that is not before `offset`; GGML_PAD of ggml.h."""
    return (offset + alignment - 1) & -alignment


def _read_entry(cursor: Cursor) -> TensorEntry:
    name = read_name(cursor, MAX_NAME_BYTES)
    cursor.subject = f"tensor {name!r}"
    shape = _read_shape(cursor)
    kind = _read_type(cursor)
    if shape[0] % kind.block_size:
        raise cursor.error(
            f"a row of {shape[0]} weights cannot be divided into blocks of {kind.block_size}, "
            f"as its type {kind.name} needs",
            fix=CONVERT_AGAIN,
        )
    return TensorEntry(name, shape, kind, cursor.unsigned("Q"))


def _read_shape(cursor: Cursor) -> tuple[int, ...]:
    start = cursor.position
    n_dims = cursor.unsigned("I")
    if not 1 <= n_dims <= MAX_DIMENSIONS:
        raise cursor.error(f"it has {n_dims} dimensions, but 1 to {MAX_DIMENSIONS} are possible", at=start)
    shape = tuple(int(extent) for extent in cursor.unpack("q", n_dims))
    if min(shape) < 1:
        raise cursor.error(f"it has the shape {list(shape)}, but every dimension must be at least 1", at=start)
    if math.prod(shape) > MAX_ELEMENTS:
        raise cursor.error(f"the shape {list(shape)} holds more than 2^63 weights", at=start)
    return shape


def _read_type(cursor: Cursor) -> GgmlType:
    start = cursor.position
    number = cursor.unsigned("I")
    if number in TYPES:
        return TYPES[number]
    if number in REMOVED:
        raise cursor.error(
            f"its type {number} ({REMOVED[number]}) was removed from llama.cpp",
            at=start,
            fix="quantise the model again",
        )
    raise cursor.error(
        f"its type {number} is unknown; the bundled ggml knows types below {TYPE_COUNT}",
        at=start,
        fix="update glm-gguf if the file is newer than it, or " + FETCH_AGAIN,
    )


def _wrong_offset(entry: TensorEntry, expected: int, alignment: int) -> str:
    """Say how the offset is wrong: unaligned, overlapping or leaving a gap."""
    stated = f"its data is said to start at {entry.data_offset} of the data section"
    if entry.data_offset % alignment:
        return f"{stated}, which is not a multiple of the alignment {alignment}"
    if entry.data_offset < expected:
        return f"{stated}, inside the tensor before it, which goes on to {expected}"
    return f"{stated}, but llama.cpp expects it right after the tensor before, at {expected}"


def _cut_short(cursor: Cursor, entries: list[TensorEntry], start: int, data_start: int) -> Exception:
    last = entries[-1]
    whole = data_start + last.data_offset + last.n_bytes
    return cursor.error(
        f"its data ends beyond the file: {cursor.size} bytes of at least {whole} are there",
        at=start,
        fix="download the file to its end, or convert it again",
    )
