"""The journal of a partial file: what is in it for certain, and what it was made of.

A line is a CRC-32 in eight hexadecimal digits, a space and a JSON object; a line that was cut or garbled, or holds
anything else, ends what is believed. The first is the binding, the others map names to checksums: of tensors that are
on the disk, and of shards whose bytes are proven (0). null takes back what was said of a name before.
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
from glm_gguf.convert.source.shards import ShardSource
from glm_gguf.convert.writing.layout import FileLayout

MOST_BYTES = 2**26  # hundreds of times what the journal of the largest model holds
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
            text = f"{stored.name} {stored.offset} {stored.shard.name} {identities[stored.shard.name]}\n"
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
    names = {tensor.source.stored.shard.name for layout in layouts for tensor in layout.tensors}
    return {name: shards.identity(name) for name in sorted(names)}


@dataclass(frozen=True, slots=True)
class Entries:
    """What a journal says: its binding, the checksum of everything that holds, and the bytes that could be read."""

    binding: Any
    checksums: Mapping[str, int]
    n_bytes: int

    @classmethod
    def read(cls, path: Path) -> Entries | None:
        """The journal at `path`, up to its first bad line; None where there is none. Raises OSError."""
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
    """The file that lines are added to; made at the first one."""

    def __init__(self, path: Path, binding: Binding, intact: int = 0) -> None:
        """`intact` bytes of a journal that is there already are kept, the rest is cut off."""
        self._path, self._binding, self._intact = path, binding, intact
        self._file: DiskFile | None = None

    @property
    def exists(self) -> bool:
        """Whether there is anything in it."""
        return self._intact > 0

    def add(self, checksums: Mapping[str, int]) -> None:
        """Say that these are in the file, with these checksums; on the disk when it returns."""
        self._append(checksums)

    def remove(self, names: Collection[str]) -> None:
        """Take back what was said of these."""
        if self.exists:
            self._append(dict.fromkeys(names))

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def discard(self) -> None:
        """Remove it."""
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
    """Lines and what they hold, up to the first that is torn, garbled or no JSON."""
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
