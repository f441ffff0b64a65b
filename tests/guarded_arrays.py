"""Arrays beside pages that nobody may read or write: code that leaves an array ends the process by a signal."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np

PAGE = mmap.PAGESIZE
NO_ACCESS = 0
"""PROT_NONE of sys/mman.h."""


def guarded(values: np.ndarray, *, at_end: bool) -> np.ndarray:
    """Return a flat copy that begins behind such a page, or ends before one."""
    within = -(-values.nbytes // PAGE) * PAGE
    pages = mmap.mmap(-1, within + 2 * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    for guard in (address, address + PAGE + within):
        _forbid(guard)
    begin = PAGE + (within - values.nbytes if at_end else 0)
    array = np.frombuffer(pages, values.dtype, values.size, begin)
    array[:] = values.reshape(-1)
    return array


def _forbid(page: int) -> None:
    protect = ctypes.CDLL(None).mprotect
    # int mprotect(void *addr, size_t len, int prot)
    protect.argtypes, protect.restype = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int], ctypes.c_int
    assert protect(page, PAGE, NO_ACCESS) == 0
