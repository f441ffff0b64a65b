"""Shards as files of a directory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import numpy as np

from glm_gguf.convert.page_cache import ReadAhead
from glm_gguf.convert.shards import Bytes
from glm_gguf.errors import ShardError


@dataclass(frozen=True, slots=True)
class LocalShards:
    """The *.safetensors files of `directory`, read in place."""

    directory: Path

    trusted, streamed_bytes = True, 0

    def names(self) -> tuple[str, ...]:
        """All *.safetensors files, broken links among them, in name order."""
        return tuple(sorted(path.name for path in self.directory.glob("*.safetensors")))

    def size(self, name: str) -> int | None:
        """Bytes of the file, None where there is none; raises OSError."""
        path = self.directory / name
        return path.stat().st_size if path.is_file() else None

    def peek(self, name: str, offset: int, n_bytes: int) -> bytes:
        """Bytes at `offset`, fewer where the file ends; raises ShardError."""
        try:
            with (self.directory / name).open("rb") as file:
                file.seek(offset)
                return file.read(n_bytes)
        except OSError as problem:
            raise _unreadable(problem, self.directory / name) from None

    def identity(self, name: str) -> str:
        """Size, time of change and hash of the header."""
        length = int.from_bytes(self.peek(name, 0, 8), "little")
        status = (self.directory / name).stat()
        header = hashlib.sha256(self.peek(name, 8, min(length, status.st_size))).hexdigest()
        return f"{status.st_size} bytes, {status.st_mtime_ns} ns, header {header}"

    def reading(self, beside: Path, n_bytes: int) -> AbstractContextManager[None]:
        """Nothing is written on the way."""
        return nullcontext()

    @contextmanager
    def stream(self, name: str) -> Iterator[LocalReader]:
        """Open the file for one pass; raises ShardError."""
        try:
            file = (self.directory / name).open("rb", buffering=0)
        except OSError as problem:
            raise _unreadable(problem, self.directory / name) from None
        with file, closing(ReadAhead(file.fileno())) as ahead:
            yield LocalReader(file, ahead)


class LocalReader:
    """Reads one file front to back into memory of its own: a map would kill the process if the file shrank."""

    def __init__(self, file: FileIO, ahead: ReadAhead) -> None:
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
    """Every file was there when its size was asked for."""
    what = "has changed since it was checked" if isinstance(problem, FileNotFoundError) else "cannot be read"
    return ShardError(f"{what}: {problem.strerror}", where=path)
