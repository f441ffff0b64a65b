"""The journal of a partial file: what is in it for certain, and what it was made of.

A line is a CRC-32 in eight hexadecimal digits, a space and JSON; a line that was cut or garbled ends what is
believed. The first holds the binding, the others ["+", names…] or ["-", names…]: tensors that are on the disk,
and shards whose bytes are proven.
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

from glm_gguf.convert.layout import FileLayout
from glm_gguf.convert.shards import ShardSource

PROGRAM = ("glm-gguf", "llama-cpp-python", "gguf")  # whose versions decide the bytes


@dataclass(frozen=True, slots=True)
class Binding:
    """What a partial file is made of: only the same three make the same bytes."""

    program: str
    checkpoint: str
    request: str

    @classmethod
    def of(cls, layout: FileLayout, identities: Mapping[str, str]) -> Binding:
        """The binding of one file; `identities` are those of all shards by name."""
        checkpoint, request = sha256(), sha256(layout.header)
        for tensor in layout.tensors:
            stored = tensor.source.stored
            text = f"{stored.name} {stored.offset} {stored.path.name} {identities[stored.path.name]}\n"
            checkpoint.update(text.encode())
            request.update(b"" if tensor.importance is None else tensor.importance.tobytes())
        program = ", ".join(f"{name} {_version(name)}" for name in PROGRAM)
        return cls(program, checkpoint.hexdigest(), request.hexdigest())

    def difference(self, other: object) -> str | None:
        """Why what a journal is bound to does not do for this conversion, None where it does."""
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
    """Name → identity of every shard that the files are made of."""
    names = {tensor.source.stored.path.name for layout in layouts for tensor in layout.tensors}
    return {name: shards.identity(name) for name in sorted(names)}


@dataclass(frozen=True, slots=True)
class Entries:
    """What a journal says: its binding, the names that hold, and the bytes that could be read."""

    binding: Any
    names: frozenset[str]
    n_bytes: int

    @classmethod
    def read(cls, path: Path) -> Entries | None:
        """The journal at `path`, up to its first bad line; None where there is none. Raises OSError."""
        if path.is_symlink() or not path.is_file():
            return None
        binding, names, n_bytes = None, set[str](), 0
        for line, entry in _intact(path.read_bytes()):
            if n_bytes == 0:
                binding = entry
            elif entry[0] == "+":
                names.update(entry[1:])
            else:
                names.difference_update(entry[1:])
            n_bytes += len(line)
        return cls(binding, frozenset(names), n_bytes)


class Journal:
    """The file that lines are added to; made at the first one."""

    def __init__(self, path: Path, binding: Binding, intact: int = 0) -> None:
        """`intact` bytes of a journal that is there already are kept, the rest is cut off."""
        self._path, self._binding, self._intact = path, binding, intact
        self._number: int | None = None

    @property
    def exists(self) -> bool:
        """Whether there is anything in it."""
        return self._intact > 0

    def add(self, names: Collection[str]) -> None:
        """Say that these are in the file for certain; on the disk when it returns."""
        self._append("+", names)

    def remove(self, names: Collection[str]) -> None:
        """Take back what was said of these."""
        if self.exists:
            self._append("-", names)

    def close(self) -> None:
        """Let go of the file."""
        if self._number is not None:
            os.close(self._number)
            self._number = None

    def discard(self) -> None:
        """Remove it."""
        self.close()
        self._path.unlink(missing_ok=True)

    def _append(self, sign: str, names: Collection[str]) -> None:
        if self._number is None:
            self._number = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
            os.ftruncate(self._number, self._intact)
        data = b"" if self._intact else _line(asdict(self._binding))
        data += _line([sign, *names])
        os.pwrite(self._number, data, self._intact)
        os.fsync(self._number)
        self._intact += len(data)


def _line(value: object) -> bytes:
    text = json.dumps(value).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _intact(data: bytes) -> Iterator[tuple[bytes, Any]]:
    """Lines and what they hold, up to the first that is torn or garbled."""
    for line in data.splitlines(keepends=True):
        text = line[9:-1]
        if not line.endswith(b"\n") or line[:9] != b"%08x " % zlib.crc32(text):
            return
        yield line, json.loads(text)
