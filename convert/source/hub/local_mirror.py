"""The directory where a user wants the source too: what is there is used, what passes is added."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedWriter
from pathlib import Path

from glm_gguf.convert.source.hub.repository import RemoteFile
from glm_gguf.errors import OutputError, ShardError


@dataclass(frozen=True, slots=True)
class LocalMirror:
    """A directory of finished copies; unfinished ones end in .part."""

    directory: Path

    def has(self, file: RemoteFile) -> bool:
        """A file of that name and size is there; raises OutputError where one of another size is."""
        path = self.directory / file.name
        try:
            if not path.exists():
                return False
            if path.is_file() and path.stat().st_size == file.n_bytes:
                return True
        except OSError as problem:
            raise OutputError(f"cannot be read: {problem.strerror}", where=path) from None
        raise self.foreign(file)

    def foreign(self, file: RemoteFile) -> OutputError:
        """The error of a file that is there and is not the repository's."""
        fix = "remove it, or keep the source elsewhere"
        return OutputError("is another file than the hub's", where=self.directory / file.name, fix=fix)

    def add(self, file: RemoteFile, data: bytes) -> None:
        """Write a file that is not there yet; raises OutputError."""
        if not self.has(file):
            with self.copy(file) as copy:
                copy.write(data)
                copy.finish()

    def part(self, file: RemoteFile, start: int, stop: int) -> bytearray:
        """Bytes of a file that is there; raises ShardError."""
        path = self.directory / file.name
        data = bytearray(stop - start)
        try:
            with path.open("rb", buffering=0) as opened:
                opened.seek(start)
                filled = 0
                while filled < len(data):
                    got = opened.readinto(memoryview(data)[filled:])
                    if not got:
                        raise ShardError("has changed since it was checked: it is shorter", where=path)
                    filled += got
        except OSError as problem:
            raise ShardError(f"cannot be read: {problem.strerror}", where=path) from None
        return data

    def check_room(self, files: list[RemoteFile], beside: Path, n_bytes: int) -> None:
        """Make the directory, and refuse where its disk has no room for what is missing; raises OutputError.

        On the same disk `n_bytes` are going to be written to `beside`.
        """
        needed = sum(file.n_bytes for file in files if not self.has(file))
        try:
            self.directory.mkdir(exist_ok=True)
            needed += n_bytes if self.directory.stat().st_dev == beside.stat().st_dev else 0
            free = shutil.disk_usage(self.directory).free
        except OSError as problem:
            raise OutputError(f"cannot be made: {problem.strerror}", where=self.directory) from None
        if free < needed:
            what = f"{needed / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free"
            raise OutputError(what, where=self.directory, fix="make room, or do not keep the source")

    @contextmanager
    def copy(self, file: RemoteFile) -> Iterator[Copy]:
        """A new file, which appears when it is finished, or not at all; raises OutputError."""
        path = self.directory / file.name
        part = path.with_name(path.name + ".part")
        with _written(part):
            part.unlink(missing_ok=True)
            opened = part.open("xb")
        try:
            yield Copy(opened, part, path)
        finally:
            try:
                opened.close()
            except OSError:  # the flush of a full disk; the file goes away all the same
                pass
            finally:
                part.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Copy:
    """A file on its way."""

    opened: BufferedWriter
    part: Path
    path: Path

    def write(self, data: bytes | bytearray) -> None:
        """Append; raises OutputError."""
        with _written(self.part):
            self.opened.write(data)

    def finish(self) -> None:
        """Flush it to the disk and give it its name; raises OutputError."""
        with _written(self.part):
            self.opened.flush()
            os.fsync(self.opened.fileno())
            self.part.replace(self.path)


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """Turn what the system refuses into an OutputError."""
    try:
        yield
    except OSError as problem:
        raise OutputError(f"cannot be written: {problem.strerror}", where=path) from None
