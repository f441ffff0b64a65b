"""The head of a GGUF file, before its weights, with every count, length and offset checked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Final, Self

from glm_gguf.errors import GgufError
from glm_gguf.gguf_file import metadata as keys
from glm_gguf.gguf_file import tensor_list as lists
from glm_gguf.gguf_file.cursor import Cursor, Readable
from glm_gguf.gguf_file.tensor_list import TensorInfo, align
from glm_gguf.gguf_file.values import Scalar, Value, ValueType, text
from glm_gguf.regular_file import open_regular
from glm_gguf.source_name import Wanted, refuse_mistaken

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)
"""GGUF_VERSION of gguf.h, and the one before, which differs only in its number."""
DEFAULT_ALIGNMENT: Final = 32
"""GGUF_DEFAULT_ALIGNMENT of gguf.h, bytes."""
ALIGNMENT_KEY: Final = "general.alignment"
ARCHITECTURE_KEY: Final = "general.architecture"
MENDING: Final = ".mending"
"""Ending of the file beside one whose head is being replaced."""

_FOREIGN: Final[Mapping[bytes, str]] = {
    b"FUGG": "a GGUF file with its bytes swapped",
    b"lmgg": "a GGML file from before GGUF",
    b"fmgg": "a GGMF file from before GGUF",
    b"tjgg": "a GGJT file from before GGUF",
    b"algg": "a GGLA adapter from before GGUF",
    b"PK\x03\x04": "a zip archive or a PyTorch checkpoint",
    b"vers": "a Git LFS pointer, not the file itself",
    b"<!DO": "a web page",
    b"<htm": "a web page",
    b"\0\0\0\0": "empty space, as a download that was never filled leaves it",
}
"""First four bytes of other files → their kind."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """A GGUF file without its weights; offsets and sizes in bytes, shapes with the innermost dimension first."""

    path: Path
    version: int
    metadata: Mapping[str, Value]
    tensors: tuple[TensorInfo, ...]
    data_offset: int
    alignment: int
    file_size: int

    def __post_init__(self) -> None:
        if self.version not in VERSIONS or not 0 < self.data_offset <= self.file_size:
            raise ValueError(f"{self.path}: version {self.version}, data at {self.data_offset} of {self.file_size}")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read and check a file's head; raises GgufError, and never reads weights."""
        place = Path(path)
        with _open(place) as stream:
            return cls.of_stream(stream, place, os.fstat(stream.fileno()).st_size)

    @classmethod
    def parse(cls, head: bytes, path: Path, file_size: int) -> Self:
        """Read the head of a file of `file_size` bytes that is not written yet; raises GgufError as `read` does."""
        return cls.of_stream(BytesIO(head), path, file_size)

    @classmethod
    def of_stream(cls, stream: Readable, path: Path, size: int) -> Self:
        """Read the head of a file of `size` bytes from its front; raises GgufError as `read` does."""
        cursor = Cursor(stream, path, size)
        version = _read_version(cursor)
        n_tensors = _read_count(cursor, "tensors", lists.SMALLEST_ENTRY, lists.MAX_TENSORS)
        n_keys = _read_count(cursor, "keys", keys.SMALLEST_ENTRY, keys.MAX_KEYS)
        metadata = keys.read_metadata(cursor, n_keys)
        alignment = _alignment(cursor, metadata)
        tensors = lists.place_tensors(cursor, lists.read_tensor_list(cursor, n_tensors), alignment)
        # gguf.cpp pads only in front of tensors.
        data_offset = align(cursor.position, alignment) if tensors else cursor.position
        return cls(path, version, MappingProxyType(metadata), tensors, data_offset, alignment, cursor.size)

    @property
    def files(self) -> tuple[GgufHeader, ...]:
        """This one file: a header is a model in one part."""
        return (self,)

    @property
    def data_end(self) -> int:
        """Byte after the last tensor's data."""
        return max((tensor.offset + tensor.n_bytes for tensor in self.tensors), default=self.data_offset)


def read_architecture(path: str | os.PathLike[str]) -> str | None:
    """Read the architecture that a file names; raises GgufError.

    Writers put that key first; only where it is elsewhere, all keys are read.
    """
    place = Path(path)
    with _open(place) as stream:
        cursor = Cursor(stream, place, os.fstat(stream.fileno()).st_size)
        _read_version(cursor)
        _read_count(cursor, "tensors", lists.SMALLEST_ENTRY, lists.MAX_TENSORS)
        n_keys = _read_count(cursor, "keys", keys.SMALLEST_ENTRY, keys.MAX_KEYS)
        first = keys.read_metadata(cursor, min(n_keys, 1))
    found = first if ARCHITECTURE_KEY in first else GgufHeader.read(place).metadata
    return text(found, ARCHITECTURE_KEY)


def _open(path: Path) -> BinaryIO:
    if not os.path.isfile(path):
        refuse_mistaken(path, Wanted.MODEL, GgufError)
    if os.path.exists(f"{path}{MENDING}"):
        fix = "glm-gguf mend FILE puts its head back, and goes on"
        raise GgufError(f"it was being mended: {path.name}{MENDING} is beside it", path=path, fix=fix)
    return open_regular(path, GgufError, "name a .gguf file")


def _read_version(cursor: Cursor) -> int:
    if cursor.size == 0:
        raise cursor.error("the file is empty")
    magic = cursor.take(4)
    if magic != MAGIC:
        refuse_mistaken(cursor.path, Wanted.MODEL, GgufError)
        known = _FOREIGN.get(magic, f"its first bytes are {magic!r}")
        raise cursor.error(f"this is no GGUF file: {known}", at=0, fix="name a .gguf file")
    version = cursor.unsigned("I")
    if version & 0xFFFF == 0 and version:
        # As in gguf.cpp: a small number in the other byte order has its low half empty.
        raise cursor.error(
            "the file is written for big-endian machines", at=4, fix="convert it again without --bigendian"
        )
    if version == 1:
        raise cursor.error("version 1 of GGUF is no longer read by llama.cpp", at=4, fix="convert the model again")
    if version not in VERSIONS:
        raise cursor.error(
            f"version {version} of GGUF is unknown, versions {VERSIONS[0]} and {VERSIONS[1]} are read", at=4
        )
    return version


def _read_count(cursor: Cursor, things: str, smallest: int, limit: int) -> int:
    """Read a number of entries that, at `smallest` bytes each, must fit into the file."""
    start = cursor.position
    count = cursor.unsigned("Q")
    if count > cursor.remaining // smallest:
        raise cursor.error(f"{count} {things} are announced, but the file has only {cursor.size} bytes", at=start)
    if count > limit:
        raise cursor.error(
            f"{count} {things} are announced, more than the {limit} any known model needs",
            at=start,
            fix="check where the file comes from",
        )
    return count


def _alignment(cursor: Cursor, metadata: Mapping[str, Value]) -> int:
    """Alignment of tensor data in bytes; llama.cpp accepts only a power of two as u32."""
    value = metadata.get(ALIGNMENT_KEY)
    if value is None:
        return DEFAULT_ALIGNMENT
    cursor.subject = f"key {ALIGNMENT_KEY!r}"
    if not isinstance(value, Scalar) or value.type is not ValueType.UINT32:
        raise cursor.error("the alignment must be a u32", fix="convert the model again")
    alignment = int(value.value)
    if alignment < 1 or alignment & (alignment - 1):
        raise cursor.error(f"the alignment {alignment} is not a power of two", fix="convert the model again")
    return alignment
