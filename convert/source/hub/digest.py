"""What a hub says a file's bytes hash to."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Protocol


class Hasher(Protocol):
    """A hash that takes bytes as they pass."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take more bytes."""

    def hexdigest(self) -> str:
        """All bytes so far, as a hash in hexadecimal."""


@dataclass(frozen=True, slots=True)
class Sha256:
    """The hash of a file in git-lfs, and of every file on ModelScope."""

    hex: str

    def __post_init__(self) -> None:
        _check(self.hex, 64)

    def hasher(self, n_bytes: int) -> Hasher:
        """A hash over a file of `n_bytes` bytes."""
        return hashlib.sha256()

    def fits(self, data: bytes | bytearray) -> bool:
        """Whether a whole file's bytes hash to it."""
        return hashlib.sha256(data).hexdigest() == self.hex


@dataclass(frozen=True, slots=True)
class GitBlob:
    """The id that git gives a file which is not in git-lfs: sha1 over a head and the bytes."""

    hex: str

    def __post_init__(self) -> None:
        _check(self.hex, 40)

    def hasher(self, n_bytes: int) -> Hasher:
        """A hash over a file of `n_bytes` bytes."""
        return hashlib.sha1(b"blob %d\0" % n_bytes, usedforsecurity=False)  # git's hash-object

    def fits(self, data: bytes | bytearray) -> bool:
        """Whether a whole file's bytes hash to it."""
        hasher = self.hasher(len(data))
        hasher.update(data)
        return hasher.hexdigest() == self.hex


Digest = Sha256 | GitBlob


def _check(hexadecimal: str, length: int) -> None:
    if not re.fullmatch(rf"[0-9a-f]{{{length}}}", hexadecimal):
        raise ValueError(f"{hexadecimal[:80]!r} is no hash of {length} hexadecimal digits")
