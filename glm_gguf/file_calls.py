"""What this system has for open files: flushes, space, and advice about the page cache."""

from __future__ import annotations

import sys
from typing import Final, Protocol

if sys.platform == "darwin":
    from glm_gguf import darwin_files as _here
else:
    from glm_gguf import linux_files as _here


class FileCalls(Protocol):
    """Calls on the descriptor of an open file; all but advice raise OSError."""

    RELEASES: bool
    """`release` works: pages that were read can leave the page cache."""

    def flush(self, descriptor: int) -> None:
        """Give the data to the disk, before all that is flushed later."""

    def flush_for_certain(self, descriptor: int) -> None:
        """Return when data and metadata would survive a power failure."""

    def allocate(self, descriptor: int, n_bytes: int) -> None:
        """Make an empty file `n_bytes` long, and allocate its space if the file system can."""

    def begin_pass(self, descriptor: int) -> None:
        """Advise that the file is read once, and that the system reads nothing ahead by itself."""

    def read_ahead(self, descriptor: int, offset: int, n_bytes: int) -> bool:
        """Begin to read a range into the page cache; False where the system takes no such advice."""

    def release(self, descriptor: int, offset: int, n_bytes: int) -> None:
        """Drop the whole pages of a range from the page cache; 0 bytes are all up to the end."""


FILE_CALLS: Final[FileCalls] = _here
