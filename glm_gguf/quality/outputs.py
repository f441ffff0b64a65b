"""Outputs that can be written, told before hours of measuring."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from glm_gguf.errors import OutputError
from glm_gguf.whole_file import is_one_of


def require_output(path: Path, *, force: bool | None = None, inputs: Iterable[Path] = ()) -> None:
    """Raise OutputError where a file exists already, unless it may be replaced, or its directory is missing.

    `force` is None where nobody can ask for that. What is read is never replaced.
    """
    if is_one_of(path, inputs):
        raise OutputError("this file is read, and would be replaced", path=path, fix="choose another name")
    if path.exists() and not path.is_file():
        raise OutputError("cannot be written: something that is no file has this name", path=path)
    if path.exists() and not force:
        fix = "choose another name" if force is None else "force=True replaces it"
        raise OutputError("exists already", path=path, fix=fix)
    if not path.absolute().parent.is_dir():
        raise OutputError("there is no such directory", path=path.absolute().parent, fix="make it first")
