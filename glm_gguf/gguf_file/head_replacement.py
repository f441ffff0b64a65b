"""The head of a GGUF file replaced: a crash leaves the old head or the new one.

Where the weights can stay, the head is written at its place. Both heads stand in NAME.mending before, and as long as
the disk may hold a part of each. Readers refuse the file meanwhile, and `restore_head` puts the old head back. Where
the weights cannot stay, a copy takes the file's name.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Final

from glm_gguf.errors import GgufError, OutputError
from glm_gguf.file_calls import FILE_CALLS
from glm_gguf.file_lock import RENAMES_OPEN, try_lock
from glm_gguf.gguf_file.head_writer import head_of
from glm_gguf.gguf_file.header import MENDING, GgufHeader
from glm_gguf.regular_file import open_regular
from glm_gguf.whole_file import whole_file

SECTOR: Final = 512
"""Bytes that a disk writes as one."""
BLOCK: Final = 2**24
"""Bytes of weights that are copied at once."""


def replace_head(header: GgufHeader, head: bytes) -> None:
    """Give a file, whose present head was read as `header`, another one, padded to its data; raises OutputError."""
    path = header.path
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size != header.file_size or head_of(GgufHeader.of_stream(file, path, size)) != head_of(header):
            raise OutputError("has changed since it was checked", path=path, fix="give the command again")
        if len(head) == header.data_offset:
            _write_in_place(file, path, head)
        else:
            _write_copy(file, header, head)


def restore_head(path: Path) -> bool:
    """Put the old head back where a replacement was interrupted; False where none was. Raises GlmGgufError."""
    if not path.name or not _beside(path).exists():  # "." and "/" have no name
        return False
    beside = _beside(path)
    with _opened(path) as file:
        if not beside.exists():  # another process ended its replacement before the file was locked
            return False
        with open_regular(beside, GgufError) as kept:
            both = kept.read()
        old, new = both[: len(both) // 2], both[len(both) // 2 :]
        present = file.read(len(old))
        starts = range(0, len(old), SECTOR)
        sectors = ((data[start : start + SECTOR] for data in (present, old, new)) for start in starts)
        if len(old) != len(new) or not all(found in (before, after) for found, before, after in sectors):
            fix = f"delete {beside.name} if the file is right"
            raise GgufError(f"{beside.name} holds the head of another file", path=path, fix=fix)
        _write_changed(file, present, old)
        beside.unlink()
        _sync_directory(path.parent)
    return True


def _beside(path: Path) -> Path:
    return path.with_name(path.name + MENDING)


@contextmanager
def _opened(path: Path) -> Iterator[FileIO]:
    """Open a file to read and write it, and lock it; raises OutputError."""
    with open_regular(path, GgufError):  # a pipe would be waited for
        pass
    with _as_output_error(path), open(path, "r+b", buffering=0) as file:
        if try_lock(file.fileno()) is False:
            raise OutputError("another program is writing it", path=path, fix="wait for it")
        yield file


def _write_in_place(file: FileIO, path: Path, head: bytes) -> None:
    file.seek(0)
    old = file.read(len(head))
    with whole_file(_beside(path)) as kept:
        kept.write(old + head)
        kept.finish()
    _sync_directory(path.parent)
    _write_changed(file, old, head)
    _beside(path).unlink()
    _sync_directory(path.parent)


def _write_changed(file: FileIO, old: bytes, new: bytes) -> None:
    """Overwrite what differs, from the first byte to the last, and flush it to the disk."""
    first = _n_equal(old, new)
    same_at_the_end = _n_equal(old[first:][::-1], new[first:][::-1])
    left = memoryview(new)[first : len(new) - same_at_the_end]
    file.seek(first)
    while left:
        left = left[file.write(left) :]
    FILE_CALLS.flush_for_certain(file.fileno())


def _n_equal(some: bytes, others: bytes) -> int:
    """How many first bytes of two heads of one length are equal."""
    least, most = 0, len(some)
    while least < most:
        middle = (least + most + 1) // 2
        if some[:middle] == others[:middle]:
            least = middle
        else:
            most = middle - 1
    return least


def _write_copy(file: BinaryIO | FileIO, header: GgufHeader, head: bytes) -> None:
    """Write head and weights to a new file, which takes the name when it is complete."""
    path = header.path
    needed = len(head) + header.file_size - header.data_offset
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        what = f"a copy needs {needed / 1e9:.2f} GB, {free / 1e9:.2f} GB are free"
        raise OutputError(what, path=path.parent, fix="free some space")
    mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    with whole_file(path, mode) as copy:
        copy.write(head)
        file.seek(header.data_offset)
        while block := file.read(BLOCK):
            copy.write(block)
        with suppress(OSError):  # a file system without modes
            os.chmod(copy.file.name, mode)
        if not RENAMES_OPEN:  # Windows replaces no file that is open
            file.close()
        copy.finish()
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    """Flush the names in a directory to the disk, if the system can."""
    with suppress(OSError):  # Windows opens no directories
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            FILE_CALLS.flush_for_certain(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _as_output_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise OutputError(f"cannot be written: {problem.strerror}", path=path) from problem
