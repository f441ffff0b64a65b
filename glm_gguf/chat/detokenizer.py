"""Token ids to text, piece by piece: bytes of a character that is not yet complete are held back."""

from __future__ import annotations

import codecs
from collections.abc import Callable

TokenBytes = Callable[[int], bytes]
"""Token id → the bytes it stands for, those of control tokens included."""


class Detokenizer:
    """The incremental UTF-8 decoder of one generation; bytes that are no UTF-8 become U+FFFD."""

    def __init__(self, token_bytes: TokenBytes) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, token_id: int) -> str:
        """Return the text that this token completes, perhaps none."""
        return self._decoder.decode(self._token_bytes(token_id))

    def flush(self) -> str:
        """Return what is left, an unfinished character as U+FFFD, and begin anew."""
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return rest
