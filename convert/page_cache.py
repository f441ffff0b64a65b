"""A large file read front to back without pushing everything else out of the kernel's page cache."""

from __future__ import annotations

import os
from contextlib import suppress

from glm_gguf.convert.disk_file import advise

WINDOW = 16 * 2**20  # bytes asked for and given back at once
AHEAD = 2  # windows
PROBES = 8  # places of a window that are looked at


class ReadAhead:
    """Asks for the windows to come; gives back those behind, unless they were in memory before.

    Where the kernel takes no advice (macOS, Windows) it does nothing.
    """

    def __init__(self, descriptor: int) -> None:
        """`descriptor` is the open file's."""
        self._descriptor, self._next, self._n_bytes = descriptor, 0, os.fstat(descriptor).st_size
        self._fetched: list[int] = []  # windows that were not in memory before; the first so many are given back
        self._n_released = 0
        self._advised = hasattr(os, "posix_fadvise")
        advise(descriptor, 0, 0, "RANDOM")  # the kernel's own reading ahead would look like memory of others

    def reached(self, offset: int) -> None:
        """Reading goes on at `offset`."""
        if not self._advised:
            return
        window = offset // WINDOW
        for ahead in range(max(self._next, window), window + AHEAD + 1):
            if not self._in_memory(ahead):
                advise(self._descriptor, ahead * WINDOW, WINDOW, "WILLNEED")
                self._fetched.append(ahead)
        self._next = max(self._next, window + AHEAD + 1)
        self._release(window)

    def close(self) -> None:
        """Reading has ended, at the file's end or before it: wait for what was asked for, and give it back."""
        if hasattr(os, "pread"):
            with suppress(OSError):  # what cannot be read is not in memory; nobody wants its bytes
                for window in self._fetched[self._n_released :]:  # a page on its way from the disk cannot be given back
                    os.pread(self._descriptor, WINDOW, window * WINDOW)
        self._n_released = 0  # after a jump, some of what was asked for came in after it had been given back
        self._release(self._next)

    def stop(self) -> None:
        """Reading was broken off: give back what is there, and wait for nothing."""
        self._release(self._next)

    def _release(self, end: int) -> None:
        while self._n_released < len(self._fetched) and self._fetched[self._n_released] < end:
            window = self._fetched[self._n_released]
            advise(self._descriptor, window * WINDOW, WINDOW, "DONTNEED")
            self._n_released += 1

    def _in_memory(self, window: int) -> bool:
        """Whether a window's bytes can be read without waiting for the disk.

        Asking for a byte makes the kernel fetch its page; on a busy machine that is there before the answer. So one
        place does not tell.
        """
        places = range(window * WINDOW, (window + 1) * WINDOW, WINDOW // PROBES)
        return all(_at_once(self._descriptor, min(place, self._n_bytes - 1)) for place in places)


def _at_once(descriptor: int, offset: int) -> bool:
    """Whether a byte can be read without waiting for the disk."""
    flag = getattr(os, "RWF_NOWAIT", None)
    if flag is None or not hasattr(os, "preadv"):  # a system that cannot tell
        return False
    try:
        n_bytes: int = os.preadv(descriptor, [bytearray(1)], offset, flag)
    except OSError:  # EAGAIN: it is not there
        return False
    return n_bytes > 0
