"""Output files that appear by rename only, complete and flushed to disk, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader, BufferedWriter
from pathlib import Path
from types import ModuleType

from glm_gguf.errors import OutputError, RequestError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows, which does not let an open file be replaced
    fcntl = None

SHARD_NAME = "{stem}-{number:05d}-of-{count:05d}.gguf"  # gguf-split's convention


def output_paths(out: Path | None, default_name: str, count: int) -> tuple[Path, ...]:
    """Where each of `count` files goes; `out` is a file, a directory, or None for the current directory."""
    out = out or Path()
    with _explained(out):
        path = out / default_name if out.is_dir() else out
    if path.suffix != ".gguf":
        raise RequestError(
            f"{path.name!r} does not end in .gguf", where="--out", fix="name a .gguf file or a directory"
        )
    if count == 1:
        return (path,)
    return tuple(path.with_name(SHARD_NAME.format(stem=path.stem, number=n, count=count)) for n in range(1, count + 1))


def check_outputs(paths: Sequence[Path], sources: Sequence[Path], n_bytes: int, *, force: bool) -> None:
    """Refuse, before anything is written, what would lose a file or run out of space; raises OutputError."""
    with _explained(paths[0]):
        _check_paths(paths, sources, force)
        free = shutil.disk_usage(paths[0].parent).free
    if free < n_bytes:
        raise OutputError(
            f"{n_bytes / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free",
            where=paths[0].parent,
            fix="make room",
        )


def _check_paths(paths: Sequence[Path], sources: Sequence[Path], force: bool) -> None:
    for path in paths:
        if any(path.exists() and source.exists() and path.samefile(source) for source in sources):
            raise OutputError("this file is an input", where=path, fix="choose another output")
        if path.exists() and not force:
            raise OutputError("exists already", where=path, fix="choose another output, or give --force")
        if path.is_dir():
            raise OutputError("this is a directory", where=path, fix="choose another output")
    if not paths[0].parent.is_dir():
        raise OutputError("there is no such directory", where=paths[0].parent, fix="make it first")


@contextmanager
def open_outputs(paths: Sequence[Path]) -> Iterator[list[BufferedWriter]]:
    """Open a `.part` file beside each path; rename all on success, remove all on any failure."""
    parts = [path.with_name(path.name + ".part") for path in paths]
    opened: list[BufferedWriter] = []
    try:
        with _explained(paths[0]):
            opened.extend(_created(part) for part in parts)
            yield opened
            for file in opened:
                file.flush()
                os.fsync(file.fileno())
                file.close()
            for part, path in zip(parts, paths, strict=True):
                part.replace(path)
    finally:
        for file, part in zip(opened, parts, strict=False):
            _discard(file, part)


def _created(part: Path) -> BufferedWriter:
    """A new file in place of what a killed conversion left; never through a link to another."""
    if part.is_file() and not part.is_symlink():
        with part.open("rb") as left:
            _lock(left, part)
    part.unlink(missing_ok=True)
    created = part.open("xb")
    _lock(created, part)
    return created


def _lock(file: BufferedReader | BufferedWriter, part: Path) -> None:
    """Hold the file for this process as long as it is open; raises OutputError where another one holds it."""
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError("another conversion is writing this file", where=part, fix="wait for it") from None


def _discard(file: BufferedWriter, part: Path) -> None:
    try:
        file.close()
    except OSError:  # the flush of a full disk; the file goes away all the same
        pass
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what the system refuses at `path` into an OutputError."""
    try:
        yield
    except BrokenPipeError:  # whoever read our progress went away; files do not do that
        raise
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError("no space is left", where=path.parent, fix="make room; nothing was kept") from None
        reason = problem.strerror or str(problem)
        where = problem.filename or path
        raise OutputError(f"cannot be written: {reason}", where=where, fix="nothing was kept") from None
