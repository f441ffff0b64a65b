"""The journal of a partial file: which tensors are on the disk, and what the file is made of.

A line is a CRC-32 in eight hexadecimal digits, a space and a JSON object; the first damaged line ends the journal. Line
one is the binding. The others map names to checksums: of tensors on the disk, and 0 for a shard whose checksum was
right. null revokes a name.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from glm_gguf.convert.disk_file import DiskFile
from glm_gguf.convert.source.safetensors_file import StoredTensor
from glm_gguf.convert.source.shards import ShardSource
from glm_gguf.convert.writing.layout import FileLayout

MOST_BYTES = 2**26  # hundreds of times the journal of the largest model
PROGRAM = ("glm-gguf", "llama-cpp-python", "gguf")  # their versions decide the bytes


@dataclass(frozen=True, slots=True)
class Binding:
    """What a partial file is made of: the same three give the same bytes."""

    program: str
    checkpoint: str
    request: str

    @classmethod
    def of(cls, layout: FileLayout, identities: Mapping[str, str]) -> Binding:
        """The binding of one file; `identities` maps every shard's name to its identity."""
        checkpoint, request = sha256(), sha256(layout.header)
        for tensor in layout.tensors:
            stored = tensor.source.stored
            for part in _with_scales(stored):
                text = f"{part.name} {part.offset} {part.shard.name} {identities[part.shard.name]}\n"
                checkpoint.update(text.encode())
            for update in tensor.source.updates:
                request.update(f"{update.identity}\n".encode())
            request.update(b"" if tensor.importance is None else tensor.importance.tobytes())
        program = ", ".join(f"{name} {_version(name)}" for name in PROGRAM)
        return cls(program, checkpoint.hexdigest(), request.hexdigest())

    def difference(self, other: object) -> str | None:
        """Why a journal with the binding `other` cannot be continued; None if it can."""
        found = other if isinstance(other, dict) else {}
        if found.get("program") != self.program:
            return "another version wrote it"
        if found.get("checkpoint") != self.checkpoint:
            return "the checkpoint has changed"
        if found.get("request") != self.request:
            return "other options were given"
        return None


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # a checkout that is not installed
        return "unknown"


def identities(layouts: Iterable[FileLayout], shards: ShardSource) -> dict[str, str]:
    """Name → identity of every shard of the files."""
    tensors = (tensor.source.stored for layout in layouts for tensor in layout.tensors)
    names = {part.shard.name for stored in tensors for part in _with_scales(stored)}
    return {name: shards.identity(name) for name in sorted(names)}


def _with_scales(stored: StoredTensor) -> tuple[StoredTensor, ...]:
    """A tensor, and the scales that it is made of too."""
    return (stored,) if stored.scale is None else (stored, stored.scale.stored)


@dataclass(frozen=True, slots=True)
class Entries:
    """The content of a journal: its binding, the checksums by name, and the bytes of its intact lines."""

    binding: Any
    checksums: Mapping[str, int]
    n_bytes: int

    @classmethod
    def read(cls, path: Path) -> Entries | None:
        """Read the journal at `path` up to its first bad line; None if there is none. Raises OSError."""
        if path.is_symlink() or not path.is_file():
            return None
        with path.open("rb") as file:
            data = file.read(MOST_BYTES)
        binding, checksums, n_bytes = None, dict[str, int | None](), 0
        for line, entry in _intact(data):
            if n_bytes == 0:
                binding = entry
            elif _is_record(entry):
                checksums.update(entry)
            else:
                break
            n_bytes += len(line)
        return cls(binding, {name: value for name, value in checksums.items() if value is not None}, n_bytes)


class Journal:
    """A journal to append to; the first record creates its file."""

    def __init__(self, path: Path, binding: Binding, intact: int = 0) -> None:
        """Keep the first `intact` bytes of an existing journal, and cut off the rest."""
        self._path, self._binding, self._intact = path, binding, intact
        self._file: DiskFile | None = None

    @property
    def exists(self) -> bool:
        """Whether it has a record."""
        return self._intact > 0

    def add(self, checksums: Mapping[str, int]) -> None:
        """Record names with their checksums, and flush the record to the disk."""
        self._append(checksums)

    def remove(self, names: Collection[str]) -> None:
        """Revoke the records of `names`."""
        if self.exists:
            self._append(dict.fromkeys(names))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def discard(self) -> None:
        """Remove the file."""
        self.close()
        self._path.unlink(missing_ok=True)

    def _append(self, record: Mapping[str, int | None]) -> None:
        if self._file is None:
            self._file = DiskFile(self._path, os.O_RDWR | os.O_CREAT)
            self._file.truncate(self._intact)
        data = b"" if self._intact else _line(asdict(self._binding))
        data += _line(record)
        self._file.write(data, self._intact)
        self._file.sync()
        self._intact += len(data)


def _line(value: object) -> bytes:
    text = json.dumps(value).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _intact(data: bytes) -> Iterator[tuple[bytes, Any]]:
    """The intact lines and their values, up to the first damaged one."""
    for line in data.splitlines(keepends=True):
        text = line[9:-1]
        if not line.endswith(b"\n") or line[:9] != b"%08x " % zlib.crc32(text):
            return
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return
        yield line, value


def _is_record(entry: object) -> bool:
    return isinstance(entry, dict) and all(value is None or type(value) is int for value in entry.values())
