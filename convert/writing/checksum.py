"""Checksums of written data: a core computes some 30 GB a second, so every byte gets one.

A checksum is the CRC-32 of the sums of each block's words. It reveals flipped bits, pages of zeros and swapped pages,
but no manipulation.
"""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

BLOCK = 4096  # bytes on every system, since journals keep the sums; pages of 16 and 64 KiB are whole blocks
WORD = 8


def checksum(data: npt.NDArray[np.uint8]) -> int:
    """The checksum of an array's bytes, 32 bits."""
    flat = data.reshape(-1)
    whole = len(flat) // BLOCK * BLOCK
    blocks = flat[:whole].view(np.uint64).reshape(-1, BLOCK // WORD)
    return zlib.crc32(flat[whole:].data, zlib.crc32(blocks.sum(axis=1, dtype=np.uint64).data))


def chained(before: int, following: int) -> int:
    """The checksum of pieces in order, from that of all before and that of the next."""
    return zlib.crc32(following.to_bytes(4, "little"), before)
