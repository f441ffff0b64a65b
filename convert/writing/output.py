"""Where output files go, and how several of them appear: complete and flushed to disk, or not at all."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from glm_gguf.convert.disk_file import sync_directory
from glm_gguf.convert.writing.journal import Binding
from glm_gguf.convert.writing.layout import FileLayout
from glm_gguf.convert.writing.partial_file import INTERRUPTIONS, JOURNAL, PARTIAL, PartialFile, as_output_error
from glm_gguf.errors import OutputError, RequestError
from glm_gguf.whole_file import is_one_of

_log = logging.getLogger(__name__)

Target = str | os.PathLike[str]
SEPARATORS = tuple({"/", os.sep})
SHARD_NAME = "{stem}-{number:05d}-of-{count:05d}.gguf"  # gguf-split's convention


def output_paths(out: Target | None, default_name: str, count: int) -> tuple[Path, ...]:
    """Where each of `count` files goes; `out` is a file, a directory, or None for the current directory."""
    if out is not None and not os.fspath(out):
        raise RequestError("the name is empty", field="out", fix="name a .gguf file or a directory, or leave it out")
    out = Path() if out is None else out
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


@contextmanager
def output_directory(out: Target | None) -> Iterator[None]:
    """Make the directory `out` if it ends in a separator; after an error, remove what is empty of it again."""
    missing: list[Path] = []
    if out is not None and _is_made(out):
        path = Path(out)
        with as_output_error(path):
            missing = [directory for directory in (path, *path.parents) if not directory.exists()]
            path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for directory in missing:
            with suppress(OSError):  # rmdir refuses a directory that holds files
                directory.rmdir()
        raise


def tell_of_other_partial_files(directory: Path, beginning: str) -> None:
    """Log the partial files of other runs whose names begin like those of this one, as with fewer types than before."""
    for partial in sorted(directory.glob(f"*.gguf{PARTIAL}")):
        name = partial.name.removesuffix(PARTIAL)
        if name.startswith(beginning) and partial.with_name(name + JOURNAL).exists():
            _log.warning(
                "%s and %s are left of another run: convert to that type to continue it, or delete both",
                partial.name,
                name + JOURNAL,
            )


def check_outputs(paths: Sequence[Path], sources: Sequence[Path], n_bytes: int, *, force: bool) -> int:
    """Raise OutputError before a file would be lost or the disk runs full.

    Returns how many of the `n_bytes` the disk has yet to allocate.
    """
    with as_output_error(paths[0]):
        _check_places(paths, sources, force=force)
        allocated = sum(_allocated_bytes(path) for path in paths)
        free = shutil.disk_usage(paths[0].parent).free + allocated
    if free < n_bytes:
        raise OutputError(
            f"{n_bytes / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free",
            path=paths[0].parent,
            fix="free some space",
        )
    return max(0, n_bytes - allocated)


def check_places(out: Target | None, paths: Sequence[Path], sources: Sequence[Path]) -> None:
    """Raise OutputError where a dry run names an output that cannot stand; a warning names files that exist already."""
    with as_output_error(paths[0]):
        if not (_is_made(out) and not paths[0].parent.exists()):
            _check_places(paths, sources, force=True)
    for path in paths:
        if os.path.lexists(path):
            _log.warning("%s exists already", path)


def _is_made(out: Target | None) -> bool:
    """Whether `out` is a directory that is made where it is missing."""
    return out is not None and os.fspath(out).endswith(SEPARATORS)


def _check_places(paths: Sequence[Path], sources: Sequence[Path], *, force: bool) -> None:
    for path in paths:
        if is_one_of(path, sources):
            raise OutputError("this file is an input", path=path, fix="choose another output")
        if os.path.lexists(path) and not force:
            kind = "exists already" if path.exists() else "is a link to a file that is not there"
            raise OutputError(kind, path=path, fix="choose another output, or give force=True")
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
        elif all(file.partial.exists() for file in files):
            _log.warning("nothing was complete yet: the same command starts from the beginning")
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
