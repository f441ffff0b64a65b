"""How many bytes a server may send for one call: one that floods is ended."""

from __future__ import annotations

from typing import Final

from glm_gguf.errors import ToolServerError

MOST_BYTES: Final = 32 * 2**20


class OutputBudget:
    """The bytes that a server may still send until the next call."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._left = most

    def renew(self) -> None:
        """Allow the whole amount again."""
        self._left = self._most

    def spend(self, count: int) -> None:
        """Count received bytes; ToolServerError where they are too many."""
        self._left -= count
        if self._left < 0:
            raise ToolServerError(f"it sent more than {self._most:,} bytes for one call")
