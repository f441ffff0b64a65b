"""A program that fetches a model while the disk of its store fills up, then with room again; it prints what happened.

    full_disk.py STORE ADDRESS BYTES

Another file takes all the room as soon as so many bytes are fetched.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path

from hub_server import sha256
from store.pulling import Told, pulled

from glm_gguf.convert.source.hub.repository import RemoteFile
from glm_gguf.errors import GlmGgufError
from glm_gguf.store.removal import unfinished
from glm_gguf.store.store import Store


class Filling(Told):
    """A PullWatcher that fills the disk as soon as `full_at` bytes are there."""

    def __init__(self, other: Path, full_at: int) -> None:
        super().__init__()
        self._other, self._full_at = other, full_at

    def has(self, file: RemoteFile, n_bytes: int) -> None:
        super().has(file, n_bytes)
        if n_bytes >= self._full_at and not self._other.exists():
            fill(self._other)


def fill(path: Path) -> None:
    """Write until the disk has no room for another byte."""
    with path.open("wb", buffering=0) as opened:
        for size in (2**16, 2**10, 1):
            with suppress(OSError):
                while opened.write(bytes(size)) == size:
                    pass


def main(directory: str, address: str, full_at: str) -> None:
    """Fetch twice."""
    store, other = Store(directory), Path(directory, "other")
    try:
        pulled(store, address, Filling(other, int(full_at)))
        error = number = None
    except GlmGgufError as problem:
        error, number = str(problem), getattr(problem.__cause__, "errno", None)
    models, left = len(store.models()), [found.n_bytes for found in unfinished(store)]
    other.unlink()
    watcher = Told()
    path = pulled(store, address, watcher).model.path
    print(
        json.dumps(
            {
                "error": error,
                "errno": number,
                "models": models,
                "left": left,
                "began_with": watcher.had[0] if watcher.had else None,
                "sha256": sha256(path.read_bytes()),
                "unfinished": len(unfinished(store)),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
