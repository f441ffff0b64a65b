"""Blocks of weights that a worker keeps in files, by their SHA-256: a second start of the model sends none of them.

ggml has a cache too: for tensors above 10 MiB only, by a hash of 64 bits, in files that are neither written whole nor
checked nor bounded (rpc_server::set_tensor of ggml-rpc.cpp).
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

LOGGER = logging.getLogger(__name__)
PARTIAL: Final = ".part-"
_BLOCK: Final = re.compile(r"[0-9a-f]{64}")
"""Name of a block. Other files of the directory are somebody's, and stay."""


class BlockCache:
    """A directory of blocks up to a number of bytes; the least recently used go first. For any thread."""

    def __init__(self, directory: Path, most_bytes: int) -> None:
        """Raises OSError where the directory cannot be made."""
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._refused = False
        """The disk took no block, which is told once: a model has thousands."""
        for left in directory.glob(f"{PARTIAL}*"):
            left.unlink(missing_ok=True)
        self._used = sum(size for _, size, _ in self._files())

    def get(self, digest: bytes) -> bytes | None:
        """Return a block; None where it is not there, or damaged."""
        path = self._path(digest)
        try:
            data = path.read_bytes()
            if hashlib.sha256(data).digest() != digest:
                LOGGER.warning("%s is damaged, and removed", path)
                path.unlink(missing_ok=True)
                return None
            os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            LOGGER.warning("%s cannot be read: %s", path, error)
            return None
        return data

    def put(self, digest: bytes, data: memoryview) -> None:
        """Keep a block, whose digest is right; where the disk refuses, none is kept."""
        if len(data) > self._most_bytes:
            return
        with self._lock:
            try:
                self._evict(self._most_bytes - len(data))
                number, partial = tempfile.mkstemp(prefix=PARTIAL, dir=self._directory)
                try:
                    with os.fdopen(number, "wb") as file:
                        file.write(data)
                    os.replace(partial, self._path(digest))
                except BaseException:
                    with suppress(OSError):
                        os.unlink(partial)
                    raise
                self._used += len(data)
            except OSError as error:
                if not self._refused:
                    LOGGER.warning("weights are not kept: %s", error)
                self._refused = True

    def _evict(self, most: int) -> None:
        """Remove the least recently used blocks until `most` bytes are left."""
        if self._used <= most:
            return
        files = sorted(self._files())
        self._used = sum(size for _, size, _ in files)
        for _, size, path in files:
            if self._used <= most:
                return
            path.unlink(missing_ok=True)
            self._used -= size

    def _files(self) -> list[tuple[int, int, Path]]:
        """List time of last use, size and path of each block."""
        found = []
        for path in filter(lambda path: _BLOCK.fullmatch(path.name), self._directory.iterdir()):
            with suppress(FileNotFoundError):
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size, path))
        return found

    def _path(self, digest: bytes) -> Path:
        return self._directory / digest.hex()
