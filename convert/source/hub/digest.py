"""The hash that a hub lists for a file, compared with the bytes that arrive."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Protocol


class Hasher(Protocol):
    """A hash of bytes that are given piece by piece."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Add bytes."""

    def hexdigest(self) -> str:
        """The hash of all bytes so far, in hexadecimal."""


@dataclass(frozen=True, slots=True)
class Sha256:
    """The hash of a file in git-lfs, and of every file on ModelScope."""

    hex: str

    def __post_init__(self) -> None:
        _check(self.hex, 64)

    def hasher(self, n_bytes: int) -> Hasher:
        """A new hash for a file of `n_bytes` bytes."""
        return hashlib.sha256()

    def fits(self, data: bytes | bytearray) -> bool:
        """Whether a file with these bytes has this hash."""
        return hashlib.sha256(data).hexdigest() == self.hex


@dataclass(frozen=True, slots=True)
class GitBlob:
    """The id that git gives a file outside git-lfs: sha1 over a header and the bytes."""

    hex: str

    def __post_init__(self) -> None:
        _check(self.hex, 40)

    def hasher(self, n_bytes: int) -> Hasher:
        """A new hash for a file of `n_bytes` bytes."""
        return hashlib.sha1(b"blob %d\0" % n_bytes, usedforsecurity=False)  # git's hash-object

    def fits(self, data: bytes | bytearray) -> bool:
        """Whether a file with these bytes has this hash."""
        hasher = self.hasher(len(data))
        hasher.update(data)
        return hasher.hexdigest() == self.hex


Digest = Sha256 | GitBlob


class ExpectedDigest:
    """Compares the first `n_bytes` of a file with `digest`, piece by piece."""

    def __init__(self, n_bytes: int, digest: Digest) -> None:
        self._left, self._digest = n_bytes, digest
        self._hasher = digest.hasher(n_bytes)

    def update(self, piece: bytearray) -> None:
        """Add the file's next bytes; bytes behind the first `n_bytes` do not count."""
        if self._left:
            self._hasher.update(memoryview(piece)[: self._left])
            self._left -= min(self._left, len(piece))

    @property
    def matches(self) -> bool:
        """Whether all `n_bytes` were added and have the expected hash."""
        return self._left == 0 and self._hasher.hexdigest() == self._digest.hex


class ExpectedRange:
    """Compares `data`, which were read at `offset` by a request of their own, with the file, piece by piece."""

    def __init__(self, offset: int, data: bytes) -> None:
        self._start, self._stop, self._at = offset, offset + len(data), 0
        self._expected, self._hasher = hashlib.sha256(data).digest(), hashlib.sha256()

    def update(self, piece: bytearray) -> None:
        """Add the file's next bytes; only those of the range count."""
        start, stop = (max(0, edge - self._at) for edge in (self._start, self._stop))
        self._hasher.update(memoryview(piece)[start:stop])
        self._at += len(piece)

    @property
    def matches(self) -> bool:
        """Whether the file has the same bytes in the range, which was added as a whole."""
        return self._at >= self._stop and self._hasher.digest() == self._expected


def _check(hexadecimal: str, length: int) -> None:
    if not re.fullmatch(rf"[0-9a-f]{{{length}}}", hexadecimal):
        raise ValueError(f"{hexadecimal[:80]!r} is no hash of {length} hexadecimal digits")
