"""A partial file: written in any order, kept for a later run or gone, under its own name only when it is whole."""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt

from glm_gguf.convert.journal import Binding, Entries, Journal
from glm_gguf.convert.layout import FileLayout
from glm_gguf.errors import OutputError, TransferError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows, which does not let an open file be replaced
    fcntl = None

INTERRUPTIONS = (KeyboardInterrupt, SystemExit, TransferError)
"""What a run is stopped by that could as well have gone on: then what is recorded is kept."""

FULL = (errno.ENOSPC, errno.EDQUOT)
PARTIAL, JOURNAL = ".part", ".journal"

NO_RESERVATION = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
"""What a file system says that cannot set space aside."""

_log = logging.getLogger(__name__)


class Part:
    """`NAME.part` that becomes NAME, with `NAME.journal` beside it once there is something to keep."""

    def __init__(self, path: Path, layout: FileLayout, binding: Binding) -> None:
        """Go on with what an interrupted run left, where it is the same conversion's, or begin anew.

        Raises OutputError where another process is writing it.
        """
        self.path, self.partial, self.done = path, path.with_name(path.name + PARTIAL), frozenset[str]()
        self._settled, self._unrecorded = False, list[str]()
        journal = path.with_name(path.name + JOURNAL)
        number = _locked(self.partial)
        try:
            entries = _kept(number, journal, layout, binding)
        except BaseException:
            _close(number)
            raise
        if number is not None and entries is not None:
            self._number, self.done = number, entries.names
            self._journal = Journal(journal, binding, entries.n_bytes)
            return
        journal.unlink(missing_ok=True)
        self.partial.unlink(missing_ok=True)
        _close(number)
        self._number = os.open(self.partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        self._journal = Journal(journal, binding)
        lock(self._number, self.partial)
        try:
            self._begin(layout)
        except BaseException:
            self.discard()
            raise

    def _begin(self, layout: FileLayout) -> None:
        """Set the file's space aside, so that a disk that is too small is known now, and write its header."""
        try:
            os.posix_fallocate(self._number, 0, layout.n_bytes)
        except (OSError, AttributeError) as problem:  # AttributeError: macOS has no such call
            if isinstance(problem, OSError) and problem.errno not in NO_RESERVATION:
                raise
            os.ftruncate(self._number, layout.n_bytes)
        self.write(np.frombuffer(layout.header, np.uint8), 0)

    def write(self, data: npt.NDArray[np.uint8], offset: int) -> None:
        """Write `data` at `offset`; from any thread."""
        left = data.reshape(-1).data
        while left:
            n_bytes = os.pwrite(self._number, left, offset)
            left, offset = left[n_bytes:], offset + n_bytes

    def record(self, names: Collection[str]) -> None:
        """Put these on the disk, then say so in the journal, and give back the memory that holds the file's pages."""
        os.fdatasync(self._number)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._number, 0, 0, os.POSIX_FADV_DONTNEED)
        self._unrecorded.extend(names)
        first = not self._journal.exists
        try:
            self._journal.add(self._unrecorded)
        except OSError as problem:
            if problem.errno not in FULL:
                raise
            return  # the data's space is set aside, so the conversion goes on; the next recording tries again
        self._unrecorded.clear()
        if first:
            sync_directory(self.path.parent)

    def forget(self, names: Collection[str]) -> None:
        """Take back what `record` said of these."""
        self._journal.remove(names)

    def sync(self) -> None:
        """Put the whole file on the disk."""
        os.fsync(self._number)

    def appear(self) -> None:
        """Give the file its name: it is whole."""
        self._close()
        self.partial.replace(self.path)

    def keep(self) -> bool:
        """Leave what is recorded for the next run; returns whether there is anything."""
        self._close()
        self._settled = self._journal.exists and self.partial.exists()
        return self._settled

    def discard(self) -> None:
        """Remove the partial file and its journal, unless they are kept."""
        self._close()
        if not self._settled:
            self.partial.unlink(missing_ok=True)
            self._journal.discard()

    def _close(self) -> None:
        self._journal.close()
        number, self._number = self._number, -1
        _close(number)


def sync_directory(directory: Path) -> None:
    """Put the names in a directory on the disk, where that can be asked for."""
    with suppress(OSError):
        number = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _locked(partial: Path) -> int | None:
    """A partial file that is there, open and locked; None for none, and for a link, which is not followed."""
    try:
        number = os.open(partial, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        return None
    except OSError as problem:
        if problem.errno == errno.ELOOP:  # O_NOFOLLOW met a link
            return None
        raise
    lock(number, partial)
    return number


def _kept(number: int | None, journal: Path, layout: FileLayout, binding: Binding) -> Entries | None:
    """What can be gone on with of a partial file; says why, where a journal is there and nothing can."""
    entries = Entries.read(journal)
    if entries is None:
        return None
    reason = binding.difference(entries.binding) or _damage(number, layout.n_bytes)
    if reason is None:
        return entries
    _log.warning("%s: begun anew, an interrupted run cannot be gone on with: %s", journal.with_suffix("").name, reason)
    return None


def _damage(number: int | None, n_bytes: int) -> str | None:
    """What is wrong with a partial file of which `n_bytes` are expected."""
    if number is None:
        return "its partial file is gone"
    status = os.fstat(number)
    same = stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_size == n_bytes
    return None if same else "its partial file is another"


def lock(number: int, path: Path) -> None:
    """Hold what is open for this process until it is closed; closes it and raises where another process holds it."""
    if fcntl is None:
        return
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(number)
        raise OutputError("another conversion is writing here", where=path, fix="wait for it") from None


def _close(number: int | None) -> None:
    if number is not None and number >= 0:
        os.close(number)
