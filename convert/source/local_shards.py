"""Shards as files of a directory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import numpy as np

from glm_gguf.convert.page_cache import ReadAhead
from glm_gguf.convert.source.shards import Bytes
from glm_gguf.errors import ShardError
from glm_gguf.regular_file import open_regular


@dataclass(frozen=True, slots=True)
class LocalShards:
    """The *.safetensors files of `directory`, read in place."""

    directory: Path

    trusted, streamed_bytes = True, 0

    def names(self) -> tuple[str, ...]:
        """All *.safetensors files, broken links among them, in name order."""
        return tuple(sorted(path.name for path in self.directory.glob("*.safetensors")))

    def where(self, name: str) -> str:
        """The file's path."""
        return str(self.directory / name)

    def size(self, name: str) -> int | None:
        """Bytes of the file, None where there is none; raises ShardError for what is no file or cannot be read."""
        if not (self.directory / name).exists():
            return None
        with open_regular(self.directory / name, ShardError) as file:
            return os.fstat(file.fileno()).st_size

    def peek(self, name: str, offset: int, n_bytes: int) -> bytes:
        """Bytes at `offset`, fewer where the file ends; raises ShardError."""
        with self._checked(name) as file:
            file.seek(offset)
            return file.read(n_bytes)

    def part(self, name: str, offset: int, n_bytes: int) -> bytes:
        """Bytes at `offset`; raises ShardError where the file ends before."""
        data = self.peek(name, offset, n_bytes)
        if len(data) < n_bytes:
            raise ShardError("has changed since it was checked: it is shorter", where=self.directory / name)
        return data

    def identity(self, name: str) -> str:
        """Size, time of change and hash of the header; raises ShardError."""
        with self._checked(name) as file:
            status = os.fstat(file.fileno())
            length = int.from_bytes(file.read(8), "little")
            header = hashlib.sha256(file.read(min(length, status.st_size))).hexdigest()
        return f"{status.st_size} bytes, {status.st_mtime_ns} ns, header {header}"

    @contextmanager
    def _checked(self, name: str) -> Iterator[BufferedReader]:
        """A file whose size was asked for; raises ShardError where it has gone, or what the context reads cannot be."""
        path = self.directory / name
        if not os.path.exists(path):
            raise ShardError("has changed since it was checked: it is gone", where=path)
        with open_regular(path, ShardError) as file:
            try:
                yield file
            except OSError as problem:
                raise _unreadable(problem, path) from None

    def reading(self, beside: Path, n_bytes: int) -> AbstractContextManager[None]:
        """Nothing is written on the way."""
        return nullcontext()

    @contextmanager
    def stream(self, name: str) -> Iterator[LocalReader]:
        """Open the file for one pass; raises ShardError."""
        with self._checked(name) as file:
            ahead = ReadAhead(file.fileno())
            try:
                yield LocalReader(file, ahead)
            except BaseException:  # whoever was stopped does not wait for the disk
                ahead.stop()
                raise
            ahead.close()


class LocalReader:
    """Reads one file front to back into memory of its own: a map would kill the process if the file shrank."""

    def __init__(self, file: BufferedReader, ahead: ReadAhead) -> None:
        self._file, self._ahead = file, ahead

    def read(self, offset: int, n_bytes: int) -> Bytes:
        """Bytes `offset` to `offset + n_bytes`; raises ShardError."""
        data, filled = np.empty(n_bytes, np.uint8), 0
        try:
            self._ahead.reached(offset)
            self._file.seek(offset)
            while filled < n_bytes:
                got = self._file.readinto(data[filled:].data)
                if not got:
                    raise ShardError("has changed since it was checked: it is shorter", where=self._file.name)
                filled += got
        except OSError as problem:
            raise _unreadable(problem, Path(self._file.name)) from None
        return data

    def finish(self) -> None:
        """Nothing to prove: the file is what it is."""


def _unreadable(problem: OSError, path: Path) -> ShardError:
    return ShardError(f"cannot be read: {problem.strerror}", where=path)
