"""Files that appear by rename when they are complete, or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import IO, Final

from glm_gguf.errors import OutputError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows, which removes no file that is open
    fcntl = None

UNFINISHED: Final = ".unfinished"
"""Ending of the temporary names."""


def write_whole(path: Path, blocks: Iterable[bytes]) -> None:
    """Write a file under a temporary name, flush it to disk, and rename it; OutputError where that cannot be done.

    Whoever is killed meanwhile leaves the temporary file, which the next to write this file removes.
    """
    try:
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            raise OutputError("cannot be written: something that is no file has this name", where=path)
        _remove_unfinished(path)
        with _temporary(path) as file:
            temporary = Path(file.name)
            try:
                file.writelines(blocks)
                file.flush()
                os.fsync(file.fileno())
                if fcntl is None:  # Windows renames no file that is open; elsewhere it stays locked until it is renamed
                    file.close()
                os.replace(temporary, path)
            finally:
                file.close()
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", where=path) from error
    except ValueError as error:  # a NUL, or half a character
        raise OutputError(f"this is no path: {error}", where=repr(str(path))) from error


def _temporary(path: Path) -> tempfile._TemporaryFileWrapper[bytes]:
    """Create a file beside another, locked as long as it is open."""
    while True:
        file = tempfile.NamedTemporaryFile(  # noqa: SIM115 (the caller closes it)
            dir=path.parent, prefix=f".{path.name}.", suffix=UNFINISHED, delete=False
        )
        if _locked(file) and os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # another writer took it for one left behind


def _remove_unfinished(path: Path) -> None:
    """Remove what killed writers of a file left; what another one writes now is locked."""
    for left in path.parent.iterdir():
        if left.name.startswith(f".{path.name}.") and left.name.endswith(UNFINISHED) and left.is_file():
            with contextlib.suppress(OSError), left.open("rb") as file:
                if _locked(file):
                    left.unlink()


def _locked(file: IO[bytes] | tempfile._TemporaryFileWrapper[bytes]) -> bool:
    """Lock an open file; False where another holds it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
