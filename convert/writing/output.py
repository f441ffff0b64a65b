"""Output files that appear by rename only, complete and flushed to disk, or not at all."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from glm_gguf.convert.disk_file import sync_directory
from glm_gguf.convert.writing.journal import Binding
from glm_gguf.convert.writing.layout import FileLayout
from glm_gguf.convert.writing.partial_file import INTERRUPTIONS, PARTIAL, Part, explained
from glm_gguf.errors import OutputError, RequestError

_log = logging.getLogger(__name__)

Target = str | os.PathLike[str]
SEPARATORS = tuple({"/", os.sep})
SHARD_NAME = "{stem}-{number:05d}-of-{count:05d}.gguf"  # gguf-split's convention


def output_paths(out: Target | None, default_name: str, count: int) -> tuple[Path, ...]:
    """Where each of `count` files goes; `out` is a file, a directory, or None for the current directory."""
    out = out or Path()
    path = Path(out) / default_name if is_directory(out) else Path(out)
    if path.suffix != ".gguf":
        raise RequestError(
            f"{path.name!r} does not end in .gguf",
            field="out",
            fix=f"name a .gguf file or a directory; {path.name}/ makes one",
        )
    if count == 1:
        return (path,)
    return tuple(path.with_name(SHARD_NAME.format(stem=path.stem, number=n, count=count)) for n in range(1, count + 1))


def is_directory(out: Target) -> bool:
    """Whether files go into `out` under names of their own: it is a directory, or ends as one, `models/`.

    Raises OutputError where that cannot be told.
    """
    with explained(Path(out)):
        return os.fspath(out).endswith(SEPARATORS) or Path(out).is_dir()


def make_directory(out: Target) -> None:
    """Make the directory that `out` names by the separator at its end; raises OutputError."""
    if os.fspath(out).endswith(SEPARATORS):
        with explained(Path(out)):
            Path(out).mkdir(parents=True, exist_ok=True)


def check_outputs(paths: Sequence[Path], sources: Sequence[Path], n_bytes: int, *, force: bool) -> int:
    """Refuse, before anything is written, what would lose a file or run out of space; raises OutputError.

    Returns how many of the `n_bytes` the disk does not hold yet.
    """
    with explained(paths[0]):
        _check_paths(paths, sources, force)
        held = sum(_set_aside(path) for path in paths)
        free = shutil.disk_usage(paths[0].parent).free + held
    if free < n_bytes:
        raise OutputError(
            f"{n_bytes / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free",
            where=paths[0].parent,
            fix="make room",
        )
    return max(0, n_bytes - held)


def _check_paths(paths: Sequence[Path], sources: Sequence[Path], force: bool) -> None:
    for path in paths:
        if any(path.exists() and source.exists() and path.samefile(source) for source in sources):
            raise OutputError("this file is an input", where=path, fix="choose another output")
        if path.exists() and not force:
            raise OutputError("exists already", where=path, fix="choose another output, or give force=True")
        if path.is_dir():
            raise OutputError("this is a directory", where=path, fix="choose another output")
    if not paths[0].parent.is_dir():
        raise OutputError("there is no such directory", where=paths[0].parent, fix="make it first")


def _set_aside(path: Path) -> int:
    """Bytes of the disk that an interrupted run's partial file holds already."""
    partial = path.with_name(path.name + PARTIAL)
    if partial.is_symlink() or not partial.is_file():
        return 0
    status = partial.stat()
    blocks: int | None = getattr(status, "st_blocks", None)
    return status.st_size if blocks is None else blocks * 512  # Windows counts none, and sets aside what is asked for


@contextmanager
def open_parts(outputs: Sequence[tuple[Path, FileLayout, Binding]]) -> Iterator[list[Part]]:
    """Open a partial file for each path; on success all get their names, on failure all are removed.

    Where a run is interrupted, what its journals say is kept for the next one.
    """
    parts: list[Part] = []
    try:
        for path, layout, binding in outputs:
            with explained(path):
                parts.append(Part(path, layout, binding))
        yield parts
        with explained(outputs[0][0]):
            _complete(parts)
    except INTERRUPTIONS:
        kept = [part.partial.name for part in parts if part.keep()]
        if kept:
            _log.warning("kept what is complete in %s: the same command goes on from there", ", ".join(kept))
        raise
    finally:
        for part in parts:
            part.discard()


def _complete(parts: Sequence[Part]) -> None:
    """Data to the disk, then the names, then their directory, and only then the journals go."""
    for part in parts:
        part.sync()
    for part in parts:
        part.appear()
    for directory in {part.path.parent for part in parts}:
        sync_directory(directory)
