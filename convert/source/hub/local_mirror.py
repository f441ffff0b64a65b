"""The directory in which a user wants the source's files too: files in it are read, missing ones are added."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from glm_gguf.convert.source.hub.repository import RemoteFile
from glm_gguf.convert.source.local_shards import as_shard_error, read_at
from glm_gguf.errors import OutputError
from glm_gguf.whole_file import UnfinishedFile, whole_file


@dataclass(frozen=True, slots=True)
class LocalMirror:
    """A directory of complete copies of a repository's files."""

    directory: Path

    def has(self, file: RemoteFile) -> bool:
        """Whether a file of that name and size is there; raises OutputError for one of another size."""
        path = self.directory / file.name
        try:
            if not path.exists():
                return False
            if path.is_file() and path.stat().st_size == file.n_bytes:
                return True
        except OSError as problem:
            raise OutputError(f"cannot be read: {problem.strerror}", path=path) from None
        raise self.another_file(file)

    def another_file(self, file: RemoteFile) -> OutputError:
        """The error for a file that differs from the repository's."""
        fix = "remove it, or keep the source elsewhere"
        return OutputError("differs from the hub's file", path=self.directory / file.name, fix=fix)

    def add(self, file: RemoteFile, data: bytes) -> None:
        """Write a file, unless it is there; raises OutputError."""
        if not self.has(file):
            (self.directory / file.name).parent.mkdir(exist_ok=True)
            with self.copy(file) as copy:
                copy.write(data)
                copy.finish()

    def read_range(self, file: RemoteFile, start: int, stop: int) -> bytearray:
        """Bytes `start` to `stop` of a file that is there; raises ShardError."""
        path = self.directory / file.name
        data = bytearray(stop - start)
        with as_shard_error(path), path.open("rb", buffering=0) as opened:
            read_at(opened, start, memoryview(data))
        return data

    def check_space(self, files: list[RemoteFile], beside: Path, n_bytes: int) -> None:
        """Make the directory; raises OutputError where its disk has too little space for the missing files.

        The conversion will write `n_bytes` to `beside`, which may be on the same disk.
        """
        needed = sum(file.n_bytes for file in files if not self.has(file))
        try:
            self.directory.mkdir(exist_ok=True)
            needed += n_bytes if self.directory.stat().st_dev == beside.stat().st_dev else 0
            free = shutil.disk_usage(self.directory).free
        except OSError as problem:
            raise OutputError(f"cannot be made: {problem.strerror}", path=self.directory) from None
        if free < needed:
            what = f"{needed / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free"
            raise OutputError(what, path=self.directory, fix="free some space, or do not keep the source")

    def copy(self, file: RemoteFile) -> AbstractContextManager[UnfinishedFile]:
        """A new file, which appears when it is finished, or not at all; raises OutputError."""
        return whole_file(self.directory / file.name)
