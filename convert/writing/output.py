"""Where output files go, and how several of them appear: complete and flushed to disk, or not at all."""

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
from glm_gguf.convert.writing.partial_file import INTERRUPTIONS, PARTIAL, PartialFile, as_output_error
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
    """Whether `out` is a directory or ends in a separator, as `models/`; raises OutputError if neither can be read."""
    with as_output_error(Path(out)):
        return os.fspath(out).endswith(SEPARATORS) or Path(out).is_dir()


def make_directory(out: Target) -> None:
    """Make the directory `out` if it ends in a separator; raises OutputError."""
    if os.fspath(out).endswith(SEPARATORS):
        with as_output_error(Path(out)):
            Path(out).mkdir(parents=True, exist_ok=True)


def check_outputs(paths: Sequence[Path], sources: Sequence[Path], n_bytes: int, *, force: bool) -> int:
    """Raise OutputError before a file would be lost or the disk runs full.

    Returns how many of the `n_bytes` the disk has yet to allocate.
    """
    with as_output_error(paths[0]):
        _check_paths(paths, sources, force)
        allocated = sum(_allocated_bytes(path) for path in paths)
        free = shutil.disk_usage(paths[0].parent).free + allocated
    if free < n_bytes:
        raise OutputError(
            f"{n_bytes / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free",
            path=paths[0].parent,
            fix="free some space",
        )
    return max(0, n_bytes - allocated)


def _check_paths(paths: Sequence[Path], sources: Sequence[Path], force: bool) -> None:
    for path in paths:
        if any(path.exists() and source.exists() and path.samefile(source) for source in sources):
            raise OutputError("this file is an input", path=path, fix="choose another output")
        if path.exists() and not force:
            raise OutputError("exists already", path=path, fix="choose another output, or give force=True")
        if path.is_dir():
            raise OutputError("this is a directory", path=path, fix="choose another output")
    if not paths[0].parent.is_dir():
        raise OutputError("there is no such directory", path=paths[0].parent, fix="make it first")


def _allocated_bytes(path: Path) -> int:
    """Bytes of the disk that an interrupted run's partial file has allocated."""
    partial = path.with_name(path.name + PARTIAL)
    if partial.is_symlink() or not partial.is_file():
        return 0
    status = partial.stat()
    blocks: int | None = getattr(status, "st_blocks", None)
    return status.st_size if blocks is None else blocks * 512  # Windows counts none, and allocates the whole file


@contextmanager
def open_partial_files(outputs: Sequence[tuple[Path, FileLayout, Binding]]) -> Iterator[list[PartialFile]]:
    """Open a partial file for each path; success renames all of them, failure removes them.

    An interruption keeps the files that have a journal, for the next run.
    """
    files: list[PartialFile] = []
    try:
        for path, layout, binding in outputs:
            with as_output_error(path):
                files.append(PartialFile(path, layout, binding))
        yield files
        with as_output_error(outputs[0][0]):
            _complete(files)
    except INTERRUPTIONS:
        kept = [file.partial.name for file in files if file.keep()]
        if kept:
            _log.warning("kept the complete tensors in %s: the same command continues from there", ", ".join(kept))
        raise
    finally:
        for file in files:
            file.discard()


def _complete(files: Sequence[PartialFile]) -> None:
    """Flush the data, then rename, then flush the directories; the journals are removed after that."""
    for file in files:
        file.sync()
    for file in files:
        file.commit()
    for directory in {file.path.parent for file in files}:
        sync_directory(directory)
