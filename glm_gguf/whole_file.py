"""Files that appear by rename when they are complete, or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedWriter
from pathlib import Path
from typing import Final

from glm_gguf.errors import OutputError
from glm_gguf.file_calls import FILE_CALLS
from glm_gguf.file_lock import RENAMES_OPEN, try_lock
from glm_gguf.private_file import PRIVATE

FULL: Final = (errno.ENOSPC, errno.EDQUOT)
"""Errors of a disk without room, or of a user without a quota."""
UNFINISHED: Final = ".unfinished"
"""Ending of the temporary names."""


@dataclass(frozen=True, slots=True)
class UnfinishedFile:
    """A file under a temporary name; `finish` gives it its own."""

    file: BufferedWriter
    path: Path

    def write(self, data: bytes | bytearray) -> None:
        """Append `data`; raises OutputError."""
        with _as_output_error(self.path):
            self.file.write(data)

    def finish(self) -> None:
        """Flush the file to disk and rename it; raises OutputError."""
        with _as_output_error(self.path):
            self.file.flush()
            FILE_CALLS.flush_for_certain(self.file.fileno())
            if not RENAMES_OPEN:  # Windows renames no file that is open; elsewhere it stays locked until it is renamed
                self.file.close()
            os.replace(self.file.name, self.path)


@contextmanager
def whole_file(path: Path, mode: int = 0o666) -> Iterator[UnfinishedFile]:
    """Open a file under a temporary name, which is removed unless `finish` was called; raises OutputError.

    A killed process leaves the temporary file; the next to write `path` removes it.
    """
    with _as_output_error(path):
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            raise OutputError("cannot be written: something that is no file has this name", path=path)
        remove_unfinished(path.parent, path.name)
        file = _temporary(path, mode)
    try:
        yield UnfinishedFile(file, path)
    finally:
        try:
            with suppress(OSError):  # what a full disk does not take is removed below
                file.close()
        finally:
            Path(file.name).unlink(missing_ok=True)


def write_whole(path: Path, blocks: Iterable[bytes]) -> None:
    """Write a private file as `whole_file` does; raises OutputError."""
    with whole_file(path, PRIVATE) as unfinished:
        for block in blocks:
            unfinished.write(block)
        unfinished.finish()


@contextmanager
def _as_output_error(path: Path) -> Iterator[None]:
    """Turn an error of the system into an OutputError."""
    try:
        yield
    except OSError as error:
        fix = "free some space, and try again" if error.errno in FULL else None
        raise OutputError(f"cannot be written: {error.strerror}", path=path, fix=fix) from error
    except ValueError as error:  # a NUL, or half a character
        raise OutputError(f"this is no path: {error}", where=repr(str(path))) from error


def _temporary(path: Path, mode: int) -> BufferedWriter:
    """Create a file beside another, locked as long as it is open."""
    while True:
        name = path.with_name(f".{path.name}.{secrets.token_hex(4)}{UNFINISHED}")
        file = open(name, "xb", opener=lambda path, flags: os.open(path, flags, mode))  # noqa: SIM115 (the caller closes it)
        if try_lock(file.fileno()) is not False and os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # another writer took it for one left behind


def remove_unfinished(directory: Path, name: str | None = None) -> None:
    """Remove what killed writers of a file left, or of any in a directory; what another one writes now is locked.

    Where the file system has no locks, it stays.
    """
    start = "." if name is None else f".{name}."
    for left in directory.iterdir():
        if left.name.startswith(start) and left.name.endswith(UNFINISHED) and left.is_file():
            with suppress(OSError), left.open("rb") as file:
                if try_lock(file.fileno()):
                    left.unlink()


def is_one_of(path: Path, inputs: Iterable[Path]) -> bool:
    """Tell whether an output is the same file as an input, by whatever name or link."""
    return path.exists() and any(each.exists() and each.samefile(path) for each in inputs)
