"""Weights that llama.cpp copies into memory of its own, in huge pages where Linux leaves that to the program."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Final

MAPS: Final = Path("/proc/self/maps")  # of Linux alone
LARGE: Final = 32 * 1024**2
"""Bytes from which malloc maps memory that is for nothing else: DEFAULT_MMAP_THRESHOLD_MAX of glibc."""
Range = tuple[int, int]
"""First address of a mapping, and the one behind its last."""


def own_memory() -> frozenset[Range]:
    """Return the writable mappings of this process that are large and no file lies behind; none where none can tell."""
    try:
        maps = MAPS.read_text("utf-8", "surrogateescape")  # names of files are bytes
    except OSError:  # another system, or no file may be opened any more
        return frozenset()
    # address perms offset dev inode pathname, of proc_pid_maps(5)
    fields = [line.split() for line in maps.splitlines()]
    bounds = [entry[0].split("-") for entry in fields if entry[1:] == ["rw-p", "00000000", "00:00", "0"]]
    ranges = [(int(start, 16), int(stop, 16)) for start, stop in bounds]
    return frozenset((start, stop) for start, stop in ranges if stop - start >= LARGE)


def advise_huge_pages(before: frozenset[Range]) -> int:
    """Ask for huge pages where memory was mapped since, which is best done before it is filled; return the bytes.

    The kernel need not follow, and nothing depends on it: what another thread maps meanwhile is advised as well, what
    it gave back is refused by the kernel. An answer is written some 2 % faster from them.
    """
    mapped = own_memory() - before
    if not mapped or not hasattr(mmap, "MADV_HUGEPAGE"):
        return 0
    # int madvise(void addr[.length], size_t length, int advice)
    madvise: Callable[..., int] = ctypes.CDLL(None).madvise
    advised = 0
    for start, stop in mapped:
        length = stop - start
        if madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), mmap.MADV_HUGEPAGE) == 0:
            advised += length
    return advised
