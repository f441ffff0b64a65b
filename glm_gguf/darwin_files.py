"""Open files on macOS, by fcntl. The twin is linux_files.

Numbers and structures are those of Apple's <sys/fcntl.h>; scripts/check_system_headers.py compares them.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from typing import Final

if sys.platform == "win32":
    raise ImportError("Windows has no fcntl")

import fcntl

F_PREALLOCATE: Final = 42
F_RDADVISE: Final = 44
F_NOCACHE: Final = 48
F_FULLFSYNC: Final = 51
F_BARRIERFSYNC: Final = 85
F_ALLOCATEALL: Final = 4
F_PEOFPOSMODE: Final = 3
FSTORE: Final = struct.Struct("=Iiqqq")
"""fstore_t: u_int32_t fst_flags, int fst_posmode, off_t fst_offset, off_t fst_length, off_t fst_bytesalloc."""
RADVISORY: Final = struct.Struct("=qi4x")
"""struct radvisory: off_t ra_offset, int ra_count."""
UNSUPPORTED: Final = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY)
"""Errors of a file system that lacks a call, as those of networks and of FAT."""
RELEASES: Final = False


def flush(descriptor: int) -> None:
    """Give the data to the disk, before all that is flushed later."""
    if not _done(descriptor, F_BARRIERFSYNC, 0):
        os.fsync(descriptor)


def flush_for_certain(descriptor: int) -> None:
    """Return when data and metadata would survive a power failure; after fsync they may be in the drive's cache."""
    if not _done(descriptor, F_FULLFSYNC, 0):
        os.fsync(descriptor)


def allocate(descriptor: int, n_bytes: int) -> None:
    """Make an empty file `n_bytes` long, and allocate its space if the file system can."""
    _done(descriptor, F_PREALLOCATE, FSTORE.pack(F_ALLOCATEALL, F_PEOFPOSMODE, 0, n_bytes, 0))
    os.ftruncate(descriptor, n_bytes)


def begin_pass(descriptor: int) -> None:
    """Advise that the file is read once, and that the system reads nothing ahead by itself.

    Pages that are in the page cache are read from there, and their age does not change (cluster_read_copy of XNU).
    """
    _done(descriptor, F_NOCACHE, 1)


def read_ahead(descriptor: int, offset: int, n_bytes: int) -> bool:
    """Begin to read a range into the page cache; False where the file system takes no such advice."""
    return _done(descriptor, F_RDADVISE, RADVISORY.pack(offset, n_bytes))


def release(descriptor: int, offset: int, n_bytes: int) -> None:
    """Do nothing: macOS drops no pages of a file on demand, but those that nobody reads again go first."""


def _done(descriptor: int, request: int, argument: int | bytes) -> bool:
    """Make a call of fcntl; False where the file system lacks it."""
    try:
        fcntl.fcntl(descriptor, request, argument)
    except OSError as problem:
        if problem.errno not in UNSUPPORTED:
            raise
        return False
    return True
