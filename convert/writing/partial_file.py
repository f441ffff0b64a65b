"""A partial file: written in any order; renamed when it is complete, kept for a later run, or removed.

`whole_file` is simpler: it writes front to back, and keeps nothing.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from glm_gguf.convert.disk_file import Bytes, DiskFile, sync_directory
from glm_gguf.convert.writing.journal import Binding, Journal
from glm_gguf.convert.writing.layout import FileLayout
from glm_gguf.convert.writing.resumption import resumable
from glm_gguf.errors import OutputError, TransferError
from glm_gguf.file_lock import RENAMES_OPEN
from glm_gguf.whole_file import FULL

INTERRUPTIONS = (KeyboardInterrupt, SystemExit, TransferError)
"""Exceptions after which a later run can continue: the recorded tensors are kept."""

PARTIAL, JOURNAL = ".part", ".journal"


class PartialFile:
    """`NAME.part`, which becomes NAME; `NAME.journal` appears beside it with the first recording."""

    def __init__(self, path: Path, layout: FileLayout, binding: Binding) -> None:
        """Continue an interrupted run of the same conversion, or start a new file.

        Raises OutputError if another process is writing it.
        """
        self.path, self.partial = path, path.with_name(path.name + PARTIAL)
        self.recorded: Mapping[str, int] = {}
        self._kept_for_next_run, self._complete, self._unrecorded = False, False, dict[str, int]()
        journal = path.with_name(path.name + JOURNAL)
        found = _open_locked(self.partial)
        try:
            entries = resumable(found, journal, layout, binding)
            if found is not None and entries is not None:
                self._file, self.recorded = found, entries.checksums
                self._journal = Journal(journal, binding, entries.n_bytes)
                self._write_header_and_padding(layout)
                return
            journal.unlink(missing_ok=True)
            if not RENAMES_OPEN:
                _close(found)  # Windows removes no file that is open; elsewhere the lock is held until it is gone
            self.partial.unlink(missing_ok=True)
        except BaseException:
            _close(found)
            raise
        _close(found)
        self._file = DiskFile(self.partial, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        self._journal = Journal(journal, binding)
        self._file.lock(self.partial)
        try:
            self._file.reserve(layout.n_bytes)  # a disk that is too small is known now
            self._write_header_and_padding(layout)
        except BaseException:
            self.discard()
            raise

    def _write_header_and_padding(self, layout: FileLayout) -> None:
        """Write the header, and zeros between the tensors."""
        self._file.write(layout.header, 0)
        ends = [offset + tensor.n_bytes for tensor, offset in zip(layout.tensors, layout.offsets, strict=True)]
        for end, following in zip(ends, [*layout.offsets[1:], layout.n_bytes], strict=False):  # none without tensors
            self._file.write(bytes(following - end), end)

    def write(self, data: Bytes, offset: int) -> None:
        """Write `data` at `offset`; from any thread."""
        with as_output_error(self.path):
            self._file.write(data, offset)

    def read(self, n_bytes: int, offset: int) -> Bytes:
        """Read `n_bytes` at `offset`; from any thread."""
        return self._file.read(n_bytes, offset)

    def record(self, checksums: Mapping[str, int]) -> None:
        """Flush the data, add its checksums to the journal, and drop the file's pages from the page cache."""
        with as_output_error(self.path):
            self._record(checksums)

    def _record(self, checksums: Mapping[str, int]) -> None:
        self._file.flush()
        self._file.drop_cached_pages()
        self._unrecorded |= checksums
        first = not self._journal.exists
        try:
            self._journal.add(self._unrecorded)
        except OSError as problem:
            if problem.errno not in FULL:
                raise
            return  # the data's space is allocated: the conversion continues, and the next recording tries again
        self._unrecorded.clear()
        if first:
            sync_directory(self.path.parent)

    def forget(self, names: Collection[str]) -> None:
        """Revoke the records of `names`, and those that are yet to be written."""
        self._unrecorded = {name: value for name, value in self._unrecorded.items() if name not in names}
        with as_output_error(self.path):
            self._journal.remove(names)

    def sync(self) -> None:
        """Flush the whole file."""
        self._file.sync()

    def commit(self) -> None:
        """Give the complete file its name; what is called NAME.part from then on is another conversion's."""
        self._close_on_windows()
        self.partial.replace(self.path)
        self._complete = True

    def keep(self) -> bool:
        """Keep the file for the next run, if anything is recorded; returns whether it is."""
        self._kept_for_next_run = not self._complete and self._journal.exists and self.partial.exists()
        return self._kept_for_next_run

    def discard(self) -> None:
        """Close the file, and remove the partial file and its journal, unless they are kept."""
        try:
            self._close_on_windows()
            if not self._kept_for_next_run:
                if not self._complete:
                    self.partial.unlink(missing_ok=True)
                self._journal.discard()
        finally:
            self._close()

    def _close_on_windows(self) -> None:
        """Close the file where one that is open is neither renamed nor removed; elsewhere it stays locked till then."""
        if not RENAMES_OPEN:
            self._close()

    def _close(self) -> None:
        self._journal.close()
        self._file.close()


def _open_locked(partial: Path) -> DiskFile | None:
    """Open and lock an existing partial file; None for none, and for a link."""
    if partial.is_symlink():
        return None
    try:
        found = DiskFile(partial, os.O_RDWR)
    except FileNotFoundError:
        return None
    found.lock(partial)
    return found


@contextmanager
def as_output_error(path: Path) -> Iterator[None]:
    """Turn an error of the system at `path` into an OutputError."""
    try:
        yield
    except OSError as problem:
        if problem.errno in FULL:
            raise OutputError("no space is left", path=path.parent, fix="free some space; nothing was kept") from None
        if problem.errno == errno.EFBIG:  # FAT32 takes 4 GiB, a limit of the process less
            fix = "give split_max_bytes=4000000000, or another disk; nothing was kept"
            raise OutputError("the disk or this process allows no file of this size", path=path, fix=fix) from None
        reason = problem.strerror or str(problem)
        where = problem.filename or path
        raise OutputError(f"cannot be written: {reason}", path=where, fix="nothing was kept") from None


def _close(file: DiskFile | None) -> None:
    if file is not None:
        file.close()
