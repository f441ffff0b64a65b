"""A directory of saved prefixes, one a file: they outlive the process, within a number of bytes."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from glm_gguf.engine.session import Sessions
from glm_gguf.errors import EngineError, OutputError, RequestError
from glm_gguf.llama.session_file import SavedPrefix, Session, read_session, write_session
from glm_gguf.whole_file import remove_unfinished

LOGGER = logging.getLogger(__name__)
NAME: Final = re.compile(r"(?P<fingerprint>[0-9a-f]{32})-(?P<tokens>\d+)-[0-9a-f]{32}\.prefix")
SHORTEST: Final = 16
"""Tokens: to read fewer costs more than to compute them again."""


@dataclass(frozen=True, slots=True)
class _KeptFile:
    """A file of the directory: its name tells the model and the number of tokens."""

    path: Path
    fingerprint: str
    n_tokens: int
    n_bytes: int
    used_at: int
    """Nanoseconds since 1970."""


class SessionDirectory:
    """Prefixes of any models in files; the least recently used are removed for new ones.

    A file appears by rename, and is checked when it is read: a process may be killed at any moment. Several processes
    may use one directory. Trust its files as you trust a program (see `session_file`).
    """

    def __init__(self, path: Path, most_bytes: int) -> None:
        """Make the directory, for its owner alone; OutputError where that fails."""
        if most_bytes < 1:
            raise RequestError(f"{most_bytes} bytes", field="session-limit", fix="give a positive size")
        self.path = path
        self.most_bytes = most_bytes
        self._tokens: dict[str, bytes] = {}
        """Name of a file → its token ids as bytes, of files that this process wrote or read."""
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            remove_unfinished(path)
            with tempfile.TemporaryFile(dir=path):  # a directory that is there may be read-only
                pass
        except OSError as error:
            raise OutputError(f"is no directory to write to: {error.strerror}", path=path) from error

    def restore(self, sessions: Sessions) -> int:
        """Fill a model's cache with its prefixes, as many of the last used as it holds; returns their tokens.

        What is damaged is removed, and computed again when it is asked for. Raises OutputError, and EngineError for a
        model that is closed or failed.
        """
        free, chosen = sessions.capacity, list[_KeptFile]()
        for file in sorted(self._files(), key=lambda file: -file.used_at):
            if file.fingerprint == sessions.fingerprint and file.n_tokens <= free:
                free -= file.n_tokens
                chosen.append(file)
        return sum(self._restored(sessions, file) for file in reversed(chosen))

    def save(self, sessions: Sessions) -> None:
        """Write the prefixes of a model's cache that are not here yet, and note those as used that are.

        Raises OutputError, and EngineError for a model that is closed or failed.
        """
        kept = [tokens for tokens in sessions.unpinned() if len(tokens) >= SHORTEST]
        for tokens in kept:
            path = self.path / _name(sessions.fingerprint, tokens)
            if _touched(path) or self._written(sessions, path, tokens):
                self._tokens[path.name] = _bytes(tokens)
                self._remove_beginnings(path.name)

    def _written(self, sessions: Sessions, path: Path, tokens: Sequence[int]) -> bool:
        """Write a prefix; False if the cache no longer holds all of it, or the directory never has room for it."""
        prefix = sessions.state_of(tokens)
        if len(prefix.tokens) < len(tokens) or not self._has_room(len(prefix.state)):
            return False
        write_session(path, Session(sessions.fingerprint, sessions.vocabulary, (prefix,)))
        return True

    def _has_room(self, n_bytes: int) -> bool:
        """Remove the least recently used files until so many bytes fit; False if they never do."""
        if n_bytes > self.most_bytes:
            return False
        files = sorted(self._files(), key=lambda file: file.used_at)
        total = sum(file.n_bytes for file in files)
        for file in files:
            if total + n_bytes <= self.most_bytes:
                break
            self._remove(file.path)
            total -= file.n_bytes
        return True

    def _remove_beginnings(self, name: str) -> None:
        """Remove files whose tokens are the beginning of another one's, as an earlier turn of a conversation is."""
        model, longer = name.partition("-")[0], self._tokens[name]
        for other, tokens in list(self._tokens.items()):
            if other != name and other.startswith(f"{model}-") and longer.startswith(tokens):
                self._remove(self.path / other)

    def _restored(self, sessions: Sessions, file: _KeptFile) -> int:
        """Fill the cache with one file; returns its tokens."""
        try:
            prefix = _read(file)
        except EngineError as error:
            refused: EngineError | None = error
        else:
            refused = sessions.restore([prefix])
            if refused is None:
                self._tokens[file.path.name] = _bytes(prefix.tokens)
                return len(prefix.tokens)
        LOGGER.warning("%s; it is removed", refused)
        self._remove(file.path)
        return 0

    def _files(self) -> list[_KeptFile]:
        """Return the files of prefixes; others are none of ours. OutputError for a directory that is gone."""
        files = []
        try:
            paths = [(path, found) for path in self.path.iterdir() if (found := NAME.fullmatch(path.name))]
        except OSError as error:
            raise OutputError(f"cannot be read: {error.strerror}", path=self.path) from error
        for path, found in paths:
            with suppress(OSError):  # another process has removed it
                status = path.stat()
                files.append(_KeptFile(path, found[1], int(found[2]), status.st_size, status.st_mtime_ns))
        return files

    def _remove(self, path: Path) -> None:
        self._tokens.pop(path.name, None)
        with suppress(OSError):  # another process has removed it, or reads it (Windows)
            path.unlink()


def _read(file: _KeptFile) -> SavedPrefix:
    """Read a file's prefix; EngineError for a damaged one."""
    session = read_session(file.path)
    if session.fingerprint != file.fingerprint or len(session.prefixes) != 1:
        raise EngineError("the file holds another prefix than its name says", path=file.path)
    return session.prefixes[0]


def _touched(path: Path) -> bool:
    """Note a file as used now; False if there is none."""
    try:
        now = time.time_ns()
        os.utime(path, ns=(now, now))
    except OSError:
        return False
    return True


def _name(fingerprint: str, tokens: Sequence[int]) -> str:
    digest = hashlib.blake2b(_bytes(tokens), digest_size=16).hexdigest()
    return f"{fingerprint}-{len(tokens)}-{digest}.prefix"


def _bytes(tokens: Sequence[int]) -> bytes:
    """Return token ids as bytes: one list begins with another where its bytes do."""
    return np.array(tokens, "<i4").tobytes()
