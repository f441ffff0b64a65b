"""One file of a hub, fetched to its place: resumed, hashed, and given its name when its hash is right.

NAME.HASH.part grows from front to back, so its size says how much is there. The next run hashes that again and goes on.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha1
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

from glm_gguf.convert.disk_file import sync_directory
from glm_gguf.convert.source.hub.digest import Hasher
from glm_gguf.convert.source.hub.fetcher import Fetcher
from glm_gguf.convert.source.hub.prefetch import prefetch
from glm_gguf.convert.source.hub.repository import RemoteFile
from glm_gguf.errors import ChecksumError, OutputError
from glm_gguf.file_calls import FILE_CALLS
from glm_gguf.whole_file import FULL

if TYPE_CHECKING:
    from filelock import BaseFileLock

PARTIAL: Final = ".part"
ATTEMPTS: Final = 3
"""How often a file is fetched until its bytes have the hash that the hub lists."""
BLOCK: Final = 2**23
POLL_SECONDS: Final = 0.1
WAIT_SECONDS: Final = 1.0
"""How often who waits for another process says so, and may give up."""

_log = logging.getLogger(__name__)


class Watcher(Protocol):
    """Is told how a download goes on."""

    def waits(self, path: Path) -> None:
        """Another process writes `path`; this one waits for it. Called again every second."""

    def has(self, file: RemoteFile, n_bytes: int) -> None:
        """`n_bytes` of the file are there."""


@contextmanager
def writing(directory: Path, path: Path, watcher: Watcher) -> Iterator[None]:
    """Let one process at a time write `path` in the store `directory`; the others wait. Raises OutputError."""
    from filelock import Timeout

    with as_output_error(path):
        lock, seconds = _lock(directory, path), 0.0
        while not lock.is_locked:
            try:
                lock.acquire(timeout=seconds)
            except Timeout:
                watcher.waits(path)
                seconds = WAIT_SECONDS
    try:
        yield
    finally:
        lock.release()


@contextmanager
def removing(directory: Path, path: Path) -> Iterator[None]:
    """Keep others from writing `path` in the store `directory`; OutputError where one does so now."""
    from filelock import Timeout

    with as_output_error(path):
        lock = _lock(directory, path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise OutputError("another process fetches it now", path=path, fix="end that one first") from None
    try:
        yield
    finally:
        lock.release()


def _lock(directory: Path, path: Path) -> BaseFileLock:
    """Return the lock of a file, which nobody holds yet."""
    from filelock import FileLock

    (directory / "locks").mkdir(parents=True, exist_ok=True)
    name = sha1(path.relative_to(directory).as_posix().encode(), usedforsecurity=False).hexdigest()[:16]
    return FileLock(directory / "locks" / f"{name}.lock", poll_interval=POLL_SECONDS)


@contextmanager
def as_output_error(path: Path) -> Iterator[None]:
    """Turn an error of the system into an OutputError; a full disk says how to go on."""
    try:
        yield
    except OSError as problem:
        full = problem.errno in FULL
        fix = "free some space: the same command goes on from what is there" if full else None
        raise OutputError(f"cannot be written: {problem.strerror}", path=path, fix=fix) from problem


def download(fetcher: Fetcher, file: RemoteFile, path: Path, watcher: Watcher) -> None:
    """Fetch a file to `path`, which appears with the right bytes or not at all; raises GlmGgufError.

    The caller holds the lock of `writing`. What an interruption leaves is used by the next call.
    """
    partial = path.with_name(f"{path.name}.{file.digest.hex[:12]}{PARTIAL}")
    with as_output_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for other in partials_of(path):
            if other != partial:
                other.unlink()  # of bytes that the hub no longer lists
        _remove_foreign(partial)
        there = partial.stat().st_size if partial.exists() else 0
        _require_space(path.parent, file.n_bytes - there)
        for attempt in range(1, ATTEMPTS + 1):
            with open(partial, "ab+") as opened:
                if _fetch_rest(fetcher, file, opened, watcher):
                    break
                opened.truncate(0)
            _log.warning("%s: its bytes were wrong (attempt %d of %d)", path.name, attempt, ATTEMPTS)
        else:
            partial.unlink()
            what = f"its bytes do not have the hash that the hub lists, fetched {ATTEMPTS} times"
            fix = "a proxy or mirror may be at fault, or the repository has changed: try again later"
            raise ChecksumError(what, path=fetcher.repository.where(file.name), fix=fix)
        os.replace(partial, path)
        sync_directory(path.parent)


def _remove_foreign(partial: Path) -> None:
    """Remove what is no file of its own: writing to a link would change another file, and a pipe would wait."""
    with suppress(FileNotFoundError):
        found = partial.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            partial.unlink()


def partials_of(path: Path) -> list[Path]:
    """Return what interrupted runs left of a file."""
    with suppress(FileNotFoundError):
        names = (entry for entry in path.parent.iterdir() if entry.name.startswith(f"{path.name}."))
        return sorted(entry for entry in names if entry.name.endswith(PARTIAL))
    return []


def has_right_bytes(file: RemoteFile, path: Path, watcher: Watcher) -> bool:
    """Tell whether a file that lies at `path` is the hub's; raises OutputError."""
    with as_output_error(path):
        if not path.is_file() or path.stat().st_size != file.n_bytes:
            return False
        hasher = file.digest.hasher(file.n_bytes)
        with path.open("rb") as opened:
            _hash_what_is_there(hasher, opened, file, watcher)
        return hasher.hexdigest() == file.digest.hex


def _fetch_rest(fetcher: Fetcher, file: RemoteFile, opened: BinaryIO, watcher: Watcher) -> bool:
    """Append what is missing; returns whether all bytes have the right hash, and flushes them if so."""
    hasher = file.digest.hasher(file.n_bytes)
    opened.seek(0)
    there = _hash_what_is_there(hasher, opened, file, watcher)
    if there > file.n_bytes:
        return False

    def fetch(start: int, stop: int) -> bytearray:
        return fetcher.read_range(file, there + start, there + stop)

    done = there
    for piece in prefetch(fetch, file.n_bytes - there, fetcher.settings):
        hasher.update(piece)
        opened.write(piece)
        opened.flush()  # so that the size is what a killed process has fetched
        done += len(piece)
        watcher.has(file, done)
    if hasher.hexdigest() != file.digest.hex:
        return False
    FILE_CALLS.flush_for_certain(opened.fileno())
    return True


def _hash_what_is_there(hasher: Hasher, opened: BinaryIO, file: RemoteFile, watcher: Watcher) -> int:
    """Hash a file from its front; returns its size in bytes."""
    done = 0
    while block := opened.read(BLOCK):
        hasher.update(block)
        done += len(block)
        watcher.has(file, min(done, file.n_bytes))
    return done


def _require_space(directory: Path, n_bytes: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < n_bytes:
        what = f"{n_bytes / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free"
        fix = "free some space: the same command goes on from what is there"
        raise OutputError(what, path=directory, fix=fix)
