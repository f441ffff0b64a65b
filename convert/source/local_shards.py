"""Shards as files of a directory: safetensors, or the parts of a GGUF."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from io import BufferedReader, FileIO
from pathlib import Path

import numpy as np

from glm_gguf.convert.page_cache import ReadAhead
from glm_gguf.convert.source.shards import Bytes
from glm_gguf.errors import ShardError
from glm_gguf.regular_file import open_regular


@dataclass(frozen=True, slots=True)
class LocalShards:
    """The *.safetensors files of `directory`, or other files of it, read in place."""

    directory: Path
    heads: Mapping[str, int] | None = None
    """Files that are no safetensors: name → bytes before the weights."""

    trusted, streamed_bytes = True, 0

    def names(self) -> tuple[str, ...]:
        """All *.safetensors files and broken links, in name order, or the files that are none."""
        if self.heads is not None:
            return tuple(sorted(self.heads))
        return tuple(sorted(path.name for path in self.directory.glob("*.safetensors")))

    def where(self, name: str) -> str:
        """The file's path."""
        return str(self.directory / name)

    def size(self, name: str) -> int | None:
        """Bytes of the file, None where there is none; raises ShardError for a directory, a pipe and the like."""
        if not (self.directory / name).exists():
            return None
        with open_regular(self.directory / name, ShardError) as file:
            return os.fstat(file.fileno()).st_size

    def peek(self, name: str, offset: int, n_bytes: int) -> bytes:
        """`n_bytes` from `offset` on, fewer where the file ends; raises ShardError."""
        with self._opened(name) as file:
            file.seek(offset)
            return file.read(n_bytes)

    def read_range(self, name: str, offset: int, n_bytes: int) -> bytes:
        """`n_bytes` from `offset` on; raises ShardError where the file ends before."""
        data = self.peek(name, offset, n_bytes)
        if len(data) < n_bytes:
            raise ShardError("has changed since it was checked: it is shorter", path=self.directory / name)
        return data

    def identity(self, name: str) -> str:
        """Size, modification time and hash of the header; raises ShardError."""
        with self._opened(name) as file:
            status = os.fstat(file.fileno())
            length = int.from_bytes(file.read(8), "little") if self.heads is None else self.heads[name]
            header = hashlib.sha256(file.read(min(length, status.st_size))).hexdigest()
        return f"{status.st_size} bytes, {status.st_mtime_ns} ns, header {header}"

    @contextmanager
    def _opened(self, name: str) -> Iterator[BufferedReader]:
        """Open a file whose size is known; raises ShardError where it is gone, and for what the context cannot read."""
        path = self.directory / name
        if not os.path.exists(path):
            raise ShardError("has changed since it was checked: it is gone", path=path)
        with open_regular(path, ShardError) as file, as_shard_error(path):
            yield file

    def reading(self, beside: Path, n_bytes: int) -> AbstractContextManager[None]:
        """Do nothing: this source stores no copy."""
        return nullcontext()

    @contextmanager
    def stream(self, name: str) -> Iterator[LocalReader]:
        """Open the file for one pass; raises ShardError."""
        with self._opened(name) as file:
            ahead = ReadAhead(file.fileno())
            try:
                yield LocalReader(file, ahead)
            except BaseException:  # an interrupted conversion does not wait for the disk
                ahead.stop()
                raise
            ahead.close()


class LocalReader:
    """Reads one file front to back into memory of its own: a map would kill the process if the file shrank."""

    def __init__(self, file: BufferedReader, ahead: ReadAhead) -> None:
        self._file, self._ahead = file, ahead

    def read(self, offset: int, n_bytes: int) -> Bytes:
        """Bytes `offset` to `offset + n_bytes`; raises ShardError."""
        data = np.empty(n_bytes, np.uint8)
        with as_shard_error(self._file.name):
            self._ahead.reached(offset)
        read_at(self._file, offset, data.data)
        return data

    def finish(self) -> None:
        """Check nothing: a file on this machine has no listed checksum."""


def read_at(file: BufferedReader | FileIO, offset: int, buffer: memoryview) -> None:
    """Fill `buffer` with a file's bytes from `offset` on; raises ShardError where the file ends before."""
    filled = 0
    with as_shard_error(file.name):
        file.seek(offset)
        while filled < len(buffer):
            n_bytes = file.readinto(buffer[filled:])
            if not n_bytes:
                raise ShardError("has changed since it was checked: it is shorter", path=file.name)
            filled += n_bytes


@contextmanager
def as_shard_error(path: str | Path) -> Iterator[None]:
    """Turn an error of the system into a ShardError."""
    try:
        yield
    except OSError as problem:
        raise ShardError(f"cannot be read: {problem.strerror}", path=path) from None
