"""One shard in one pass: watchers hash and copy every piece in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from glm_gguf.convert.source.shards import Bytes


class ShardStream:
    """A ShardReader over `pieces`, which together are the whole file; `check` raises if its bytes are wrong."""

    def __init__(
        self, pieces: Iterator[bytearray], watchers: tuple[Callable[[bytearray], None], ...], check: Callable[[], None]
    ) -> None:
        self._pieces, self._watchers, self._check = pieces, watchers, check
        self._piece = np.empty(0, np.uint8)
        self._start = 0

    def read(self, offset: int, n_bytes: int) -> Bytes:
        """Bytes `offset` to `offset + n_bytes`, (n_bytes,) uint8; raises TransferError."""
        pieces = []
        end = offset + n_bytes
        while offset < end:
            while offset >= self._start + len(self._piece):
                self._advance()
            piece = self._piece[offset - self._start : end - self._start]
            pieces.append(piece)
            offset += len(piece)
        return pieces[0] if len(pieces) == 1 else np.concatenate([np.empty(0, np.uint8), *pieces])

    def finish(self) -> None:
        """Fetch the rest of the file and check its hash; raises TransferError."""
        for piece in self._pieces:
            self._watch(piece)
        self._check()

    def _advance(self) -> None:
        piece = next(self._pieces, bytearray())
        assert piece, "a header was checked to end where its file ends"
        self._watch(piece)
        self._start += len(self._piece)
        self._piece = np.frombuffer(piece, np.uint8)

    def _watch(self, piece: bytearray) -> None:
        for watcher in self._watchers:
            watcher(piece)
