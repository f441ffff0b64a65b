"""Read a large file front to back without evicting all else from the kernel's page cache."""

from __future__ import annotations

import os
from contextlib import suppress

from glm_gguf.file_calls import FILE_CALLS, FileCalls

WINDOW = 16 * 2**20  # bytes read ahead and released at once: whole pages on every system, which have up to 64 KiB
AHEAD = 2  # windows
PROBES = 8  # probed places of a window


class ReadAhead:
    """Reads windows ahead, and releases those behind that were not in memory before.

    macOS releases nothing, but evicts first what is read this way. Windows takes no advice, so nothing is done there.
    """

    def __init__(self, descriptor: int, calls: FileCalls = FILE_CALLS) -> None:
        """Read ahead of the open file `descriptor`."""
        self._descriptor, self._next, self._n_bytes = descriptor, 0, os.fstat(descriptor).st_size
        self._calls = calls
        self._fetched: list[int] = []  # windows that were not in memory before; the first _n_released are released
        self._n_released = 0
        calls.begin_pass(descriptor)  # pages that the kernel reads ahead by itself would look like pages of others

    def reached(self, offset: int) -> None:
        """Reading continues at `offset`."""
        window = offset // WINDOW
        n_windows = -(-self._n_bytes // WINDOW)  # behind a file's end, macOS refuses the advice (EFBIG)
        for ahead in range(max(self._next, window), min(window + AHEAD + 1, n_windows)):
            if not self._in_memory(ahead) and self._calls.read_ahead(self._descriptor, ahead * WINDOW, WINDOW):
                self._fetched.append(ahead)
        self._next = max(self._next, window + AHEAD + 1)
        self._release(window)

    def close(self) -> None:
        """Reading has ended: wait for all windows that were read ahead, and release them."""
        if self._calls.RELEASES and hasattr(os, "pread"):
            with suppress(OSError):  # unreadable pages are not in memory, and their bytes are not used
                for window in self._fetched[self._n_released :]:  # a page that is being read cannot be released
                    os.pread(self._descriptor, WINDOW, window * WINDOW)
        self._n_released = 0  # after a jump, some windows were read after their release
        self._release(self._next)

    def stop(self) -> None:
        """Reading was interrupted: release what is in memory, and wait for nothing."""
        self._release(self._next)

    def _release(self, end: int) -> None:
        while self._n_released < len(self._fetched) and self._fetched[self._n_released] < end:
            window = self._fetched[self._n_released]
            self._calls.release(self._descriptor, window * WINDOW, WINDOW)
            self._n_released += 1

    def _in_memory(self, window: int) -> bool:
        """Whether a window's bytes can be read without waiting for the disk.

        A probe makes the kernel fetch the page, and on a busy machine the page arrives before the answer: one probe
        is not enough.
        """
        places = range(window * WINDOW, (window + 1) * WINDOW, WINDOW // PROBES)
        return all(_is_cached(self._descriptor, min(place, self._n_bytes - 1)) for place in places)


def _is_cached(descriptor: int, offset: int) -> bool:
    """Whether a byte can be read without waiting for the disk."""
    flag = getattr(os, "RWF_NOWAIT", None)
    if flag is None or not hasattr(os, "preadv"):  # the system cannot tell
        return False
    try:
        n_bytes: int = os.preadv(descriptor, [bytearray(1)], offset, flag)
    except OSError:  # EAGAIN: it is not in memory
        return False
    return n_bytes > 0
