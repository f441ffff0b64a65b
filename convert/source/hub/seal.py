"""A hash that is known beforehand of the first bytes of a file, compared as they pass."""

from __future__ import annotations

from glm_gguf.convert.source.hub.digest import Digest


class ExpectedDigest:
    """The first `n_bytes` of a file must hash to `digest`."""

    def __init__(self, n_bytes: int, digest: Digest) -> None:
        self._left, self._digest = n_bytes, digest
        self._hasher = digest.hasher(n_bytes)

    def pass_over(self, piece: bytearray) -> None:
        """Take the file's next bytes; those behind the sealed ones do not count."""
        if self._left:
            self._hasher.update(memoryview(piece)[: self._left])
            self._left -= min(self._left, len(piece))

    @property
    def whole(self) -> bool:
        """All bytes have passed, and they are the right ones."""
        return self._left == 0 and self._hasher.hexdigest() == self._digest.hex
