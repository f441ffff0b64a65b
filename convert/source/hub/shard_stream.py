"""One shard in one pass: pieces in order, every byte hashed and, where it is asked for, copied."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from glm_gguf.convert.source.shards import Bytes


class ShardStream:
    """A ShardReader over `pieces`, which together are the whole file."""

    def __init__(
        self, pieces: Iterator[bytearray], watchers: tuple[Callable[[bytearray], None], ...], prove: Callable[[], None]
    ) -> None:
        self._pieces, self._watchers, self._prove = pieces, watchers, prove
        self._piece = np.empty(0, np.uint8)
        self._start = 0

    def read(self, offset: int, n_bytes: int) -> Bytes:
        """Bytes `offset` to `offset + n_bytes`, (n_bytes,) uint8; raises TransferError."""
        parts = []
        end = offset + n_bytes
        while offset < end:
            while offset >= self._start + len(self._piece):
                self._advance()
            part = self._piece[offset - self._start : end - self._start]
            parts.append(part)
            offset += len(part)
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.uint8), *parts])

    def finish(self) -> None:
        """Let the rest of the file pass, and hold its hash against the hub's; raises TransferError."""
        for piece in self._pieces:
            self._watch(piece)
        self._prove()

    def _advance(self) -> None:
        piece = next(self._pieces, bytearray())
        assert piece, "a header was checked to end where its file ends"
        self._watch(piece)
        self._start += len(self._piece)
        self._piece = np.frombuffer(piece, np.uint8)

    def _watch(self, piece: bytearray) -> None:
        for watcher in self._watchers:
            watcher(piece)
