"""A forward reader over the head of a GGUF file that never reads past its end or without bound."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final, Protocol

from glm_gguf.errors import GgufError

MAX_HEADER_BYTES: Final = 128 * 2**20
"""Keys and tensor list of the largest known vocabularies take below 20 MB."""

MAX_ITEMS: Final = 2**22
"""Array items in the whole file; a GLM-4 has 621,192, the largest known vocabularies 1.3 million."""

FIRST_READ: Final = 2**20
"""Bytes; the head of a file without a vocabulary fits."""

FETCH_AGAIN: Final = "download or convert the file again"
_LENGTH: Final = struct.Struct("<Q")


class Readable(Protocol):
    """A file that is read front to back."""

    def read(self, n_bytes: int, /) -> bytes | bytearray:
        """Return the next bytes, fewer where the file ends; raises OSError."""


class Cursor:
    """A position in a file's head, and the name of its subject for errors."""

    def __init__(self, stream: Readable, path: Path, size: int) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self.path = path
        self._items_left = MAX_ITEMS
        self.size = size
        self.position = 0
        self.subject = "header"

    @property
    def remaining(self) -> int:
        """Bytes from here to the end of the file."""
        return self.size - self.position

    def error(self, what: str, *, fix: str = FETCH_AGAIN, at: int | None = None) -> GgufError:
        """An error about byte `at`, or about the position."""
        offset = self.position if at is None else at
        return GgufError(what, path=self.path, where=f"{self.subject}, byte {offset}", fix=fix)

    def require(self, count: int) -> None:
        """Read the next `count` bytes into memory; GgufError if the file is too short."""
        end = self.position + count
        if end <= len(self._buffer):
            return
        if end > self.size:
            raise self.error(f"{count} bytes should follow, but the file ends after {self.remaining}")
        if end > MAX_HEADER_BYTES:
            raise self.error(
                f"keys and tensor list go on past {MAX_HEADER_BYTES} bytes, which no known model needs",
                fix="check where the file comes from",
            )
        self._fill(end)

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        self.require(count)
        start = self.position
        self.position += count
        return bytes(self._buffer[start : self.position])

    def unpack(self, code: str, count: int = 1) -> tuple[int | float, ...]:
        """`count` little-endian numbers of a struct code."""
        layout = struct.Struct(f"<{count}{code}")
        self.require(layout.size)
        values = layout.unpack_from(self._buffer, self.position)
        self.position += layout.size
        return values

    def unsigned(self, code: str) -> int:
        """One unsigned little-endian number: code I for 32 bits, Q for 64."""
        return int(self.unpack(code)[0])

    def spend_items(self, count: int, bytes_each: int) -> None:
        """Check an array's length against the file's end and the limit for the whole file."""
        if count > self.remaining // bytes_each:
            raise self.error(
                f"an array claims {count} items of at least {bytes_each} bytes, "
                f"but only {self.remaining} bytes of the file are left"
            )
        self._items_left -= count
        if self._items_left < 0:
            raise self.error(
                f"an array of {count} items brings the file past {MAX_ITEMS} array items, which no known model needs",
                fix="check where the file comes from",
            )

    def string(self, limit: int = MAX_HEADER_BYTES) -> str:
        """A string: 64-bit length in bytes, then UTF-8."""
        start = self.position
        self.require(8)
        (length,) = _LENGTH.unpack_from(self._buffer, start)
        if length > self.size - start - 8:
            raise self.error(
                f"a string claims {length} bytes, but only {self.remaining - 8} bytes of the file are left"
            )
        if length > limit:
            raise self.error(f"a string of {length} bytes is longer than the {limit} that are allowed here")
        self.require(8 + length)
        self.position = end = start + 8 + length
        try:
            return self._buffer[start + 8 : end].decode()
        except UnicodeDecodeError as error:
            raise self.error(f"a string is not UTF-8 ({error.reason})", at=start + 8 + error.start) from None

    def _fill(self, end: int) -> None:
        """Grow the buffer to byte `end` at least; it doubles, so that reads are few."""
        have = len(self._buffer)
        target = min(self.size, MAX_HEADER_BYTES, max(end, 2 * have, FIRST_READ))
        try:
            self._buffer += self._stream.read(target - have)
        except OSError as error:
            raise self.error(f"the file cannot be read: {error.strerror}", at=have) from error
        if len(self._buffer) < end:
            raise self.error("the file became shorter while it was read", at=len(self._buffer))
