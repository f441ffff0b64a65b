"""Locks of files that are written: a process learns that another one writes the same file."""

from __future__ import annotations

import errno
from types import ModuleType
from typing import Final

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

RENAMES_OPEN: Final = fcntl is not None
"""A file can be renamed or removed while it is open: not on Windows."""
NO_LOCKS: Final = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)
"""Errors of file systems without locks: Lustre as it is mostly mounted, NFS without its daemon, some of FUSE."""


def try_lock(descriptor: int) -> bool | None:
    """Lock an open file or directory until it is closed; False where another process has it.

    None where the file system has no locks: then nobody knows whether another process writes it. True on Windows,
    where nobody removes what is open. Raises OSError.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return None
    return True
