"""An open file that any thread reads and writes at any offset, on Linux, macOS and Windows.

Windows has no calls with an offset; here they are replaced. What else differs stands in glm_gguf/file_calls.py.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from types import ModuleType

import numpy as np
import numpy.typing as npt

from glm_gguf.errors import OutputError
from glm_gguf.file_calls import FILE_CALLS
from glm_gguf.file_lock import RENAMES_OPEN, try_lock

msvcrt: ModuleType | None
try:
    import msvcrt
except ImportError:  # everything else
    msvcrt = None

Bytes = npt.NDArray[np.uint8]

LOCKED_ELSEWHERE = (errno.EACCES, errno.EDEADLK)
"""Errors of Windows for a lock that another process holds."""

BUSY = "another conversion is writing here"

LOCKED_BYTE = 2**62  # far behind any file's end: a lock on Windows keeps others from reading what it covers


class DiskFile:
    """A file that is read and written at offsets; every method raises OSError."""

    def __init__(self, path: Path, flags: int) -> None:
        """Open `path` with `flags` of os.open; links are refused if the system can do that."""
        flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        self._descriptor, self._seeking = os.open(path, flags, 0o666), Lock()

    def status(self) -> os.stat_result:
        """The file's status, by fstat."""
        return os.fstat(self._descriptor)

    def lock(self, path: Path) -> None:
        """Lock the file at `path` until it is closed; closes it and raises OutputError if another process has it."""
        try:
            _lock(self._descriptor, path)
            if RENAMES_OPEN and not _lies_at(path, self.status()):  # Windows removes no file that is open
                raise OutputError(BUSY, path=path, fix="wait for it")
        except BaseException:
            self.close()
            raise

    def reserve(self, n_bytes: int) -> None:
        """Make the empty file `n_bytes` long, and allocate its space if the system can."""
        FILE_CALLS.allocate(self._descriptor, n_bytes)

    def truncate(self, n_bytes: int) -> None:
        """Cut the file to `n_bytes`."""
        os.ftruncate(self._descriptor, n_bytes)

    def write(self, data: Bytes | bytes, offset: int) -> None:
        """Write all of `data` at `offset`."""
        left = data.reshape(-1).data if isinstance(data, np.ndarray) else memoryview(data)
        while left:
            n_bytes = self._write_some(left, offset)
            left, offset = left[n_bytes:], offset + n_bytes

    def read(self, n_bytes: int, offset: int) -> Bytes:
        """Up to `n_bytes` at `offset`, fewer where the file ends."""
        pieces, filled = [], 0
        while filled < n_bytes and (piece := self._read_some(n_bytes - filled, offset + filled)):
            pieces.append(piece)
            filled += len(piece)
        return np.frombuffer(pieces[0] if len(pieces) == 1 else b"".join(pieces), np.uint8)

    def flush(self) -> None:
        """Flush the file's data to the disk, before all that is flushed later."""
        FILE_CALLS.flush(self._descriptor)

    def sync(self) -> None:
        """Flush the file's data and metadata; they are on the disk for certain."""
        FILE_CALLS.flush_for_certain(self._descriptor)

    def drop_cached_pages(self) -> None:
        """Drop the flushed file's pages from the page cache, if the system can."""
        FILE_CALLS.release(self._descriptor, 0, 0)

    def close(self) -> None:
        """Close the file, unless it is closed."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _write_some(self, data: memoryview, offset: int) -> int:
        n_bytes: int
        if hasattr(os, "pwrite"):
            n_bytes = os.pwrite(self._descriptor, data, offset)
            return n_bytes
        with self._seeking:  # Windows: all threads share the file's position
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.write(self._descriptor, data)

    def _read_some(self, n_bytes: int, offset: int) -> bytes:
        data: bytes
        if hasattr(os, "pread"):
            data = os.pread(self._descriptor, n_bytes, offset)
            return data
        with self._seeking:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.read(self._descriptor, n_bytes)


def _lock(descriptor: int, path: Path) -> None:
    held = try_lock(descriptor) if msvcrt is None else _try_lock_a_byte(descriptor, msvcrt)
    if held is False:
        raise OutputError(BUSY, path=path, fix="wait for it")


def _try_lock_a_byte(descriptor: int, msvcrt: ModuleType) -> bool:
    """Lock an open file on Windows; False where another process has it."""
    os.lseek(descriptor, LOCKED_BYTE, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except OSError as problem:
        if problem.errno not in LOCKED_ELSEWHERE:
            raise
        return False
    return True


def _lies_at(path: Path, status: os.stat_result) -> bool:
    """Whether an open file still has its name: another process may have removed it before it was locked."""
    try:
        return os.path.samestat(path.lstat(), status)
    except FileNotFoundError:
        return False


@contextmanager
def locked_directory(directory: Path) -> Iterator[None]:
    """Lock a directory against other conversions, except on Windows, which opens none; raises OutputError."""
    if msvcrt is not None:
        yield
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        _lock(descriptor, directory)
        yield
    finally:
        os.close(descriptor)


def sync_directory(directory: Path) -> None:
    """Flush the names in a directory to the disk, if the system can."""
    with suppress(OSError):  # Windows opens no directories
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            FILE_CALLS.flush_for_certain(descriptor)
        finally:
            os.close(descriptor)
