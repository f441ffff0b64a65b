"""Token ids to text, token by token; the bytes of an incomplete character are held back."""

from __future__ import annotations

import codecs
from collections.abc import Callable

TokenBytes = Callable[[int], bytes]
"""Token id → its bytes, also for control tokens."""


class Detokenizer:
    """The incremental UTF-8 decoder of one generation; bytes that are no UTF-8 become U+FFFD."""

    def __init__(self, token_bytes: TokenBytes) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, token_id: int) -> str:
        """Return the text that this token completes; it may be empty."""
        return self._decoder.decode(self._token_bytes(token_id))

    def flush(self) -> str:
        """Return the rest, an incomplete character as U+FFFD, and reset."""
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return rest
