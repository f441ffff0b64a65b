"""A large file read front to back without pushing everything else out of the kernel's page cache."""

from __future__ import annotations

import os

WINDOW = 16 * 2**20  # bytes asked for and given back at once
AHEAD = 2  # windows
PROBES = 8  # places of a window that are looked at


class ReadAhead:
    """Asks for the windows to come; gives back those behind, unless they were in memory before."""

    def __init__(self, number: int) -> None:
        """`number` is the open file's."""
        self._number, self._next, self._n_bytes = number, 0, os.fstat(number).st_size
        self._ours: list[int] = []  # windows that were not in memory before; the first so many are given back
        self._n_given = 0
        if hasattr(os, "posix_fadvise"):  # the kernel's own reading ahead would look like memory of others
            os.posix_fadvise(number, 0, 0, os.POSIX_FADV_RANDOM)

    def reached(self, offset: int) -> None:
        """Reading goes on at `offset`."""
        if not hasattr(os, "posix_fadvise"):  # macOS
            return
        window = offset // WINDOW
        for ahead in range(max(self._next, window), window + AHEAD + 1):
            if not self._in_memory(ahead):
                os.posix_fadvise(self._number, ahead * WINDOW, WINDOW, os.POSIX_FADV_WILLNEED)
                self._ours.append(ahead)
        self._next = max(self._next, window + AHEAD + 1)
        self._give_back(window)

    def close(self) -> None:
        """Reading has ended, at the file's end or before."""
        for window in self._ours[self._n_given :]:  # a page still on its way from the disk cannot be given back
            os.pread(self._number, WINDOW, window * WINDOW)
        self._n_given = 0  # after a jump, some of what was asked for came in after it had been given back
        self._give_back(self._next)

    def _give_back(self, end: int) -> None:
        while self._n_given < len(self._ours) and self._ours[self._n_given] < end:
            window = self._ours[self._n_given]
            os.posix_fadvise(self._number, window * WINDOW, WINDOW, os.POSIX_FADV_DONTNEED)
            self._n_given += 1

    def _in_memory(self, window: int) -> bool:
        """Whether a window's bytes can be read without waiting for the disk.

        Asking for a byte makes the kernel fetch its page; on a busy machine that is there before the answer. So one
        place does not tell.
        """
        places = range(window * WINDOW, (window + 1) * WINDOW, WINDOW // PROBES)
        try:
            return all(
                os.preadv(self._number, [bytearray(1)], min(place, self._n_bytes - 1), os.RWF_NOWAIT) > 0
                for place in places
            )
        except (OSError, AttributeError):  # EAGAIN: it is not; or a system that cannot tell
            return False
