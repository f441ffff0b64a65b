"""Open files on Linux; where another system lacks a call, it is replaced or left out. The twin is darwin_files."""

from __future__ import annotations

import errno
import os
from typing import Final

NO_RESERVATION: Final = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
"""Errors of a file system that cannot allocate space."""
RELEASES: Final = hasattr(os, "posix_fadvise")


def flush(descriptor: int) -> None:
    """Give the data to the disk, before all that is flushed later."""
    (os.fdatasync if hasattr(os, "fdatasync") else os.fsync)(descriptor)


def flush_for_certain(descriptor: int) -> None:
    """Return when data and metadata would survive a power failure."""
    os.fsync(descriptor)


def allocate(descriptor: int, n_bytes: int) -> None:
    """Make an empty file `n_bytes` long, and allocate its space if the file system can."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, n_bytes)
            return
    except OSError as problem:
        if problem.errno not in NO_RESERVATION:
            raise
    os.ftruncate(descriptor, n_bytes)


def begin_pass(descriptor: int) -> None:
    """Advise that the file is read once, and that the system reads nothing ahead by itself."""
    _advise(descriptor, 0, 0, "RANDOM")


def read_ahead(descriptor: int, offset: int, n_bytes: int) -> bool:
    """Begin to read a range into the page cache; False where the system takes no such advice."""
    return _advise(descriptor, offset, n_bytes, "WILLNEED")


def release(descriptor: int, offset: int, n_bytes: int) -> None:
    """Drop the whole pages of a range from the page cache; 0 bytes are all up to the end."""
    _advise(descriptor, offset, n_bytes, "DONTNEED")


def _advise(descriptor: int, offset: int, n_bytes: int, advice: str) -> bool:
    """Give advice by POSIX_FADV_…; False where the system takes none."""
    if not hasattr(os, "posix_fadvise"):
        return False
    os.posix_fadvise(descriptor, offset, n_bytes, getattr(os, f"POSIX_FADV_{advice}"))
    return True
