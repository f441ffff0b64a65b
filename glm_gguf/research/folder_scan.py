"""Which documents a folder holds, and what their names, sizes and times tell of changes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final, NoReturn

from glm_gguf.errors import CorpusError
from glm_gguf.research.document_text import KINDS

_log = logging.getLogger(__name__)
MOST_NS: Final = 2**63 - 1
"""Time of change that SQLite holds: in the year 2262. A later one counts as that, and is never settled."""
RACY_NS: Final = 2 * 10**9
"""A file that was changed less than this before it was read may change again without a new time (FAT counts 2 s)."""


@dataclass(frozen=True, slots=True)
class FileState:
    """A document's path below the folder, with `/` between its parts, its size in bytes and its time of change."""

    path: str
    size: int
    mtime_ns: int

    def settled(self, read_ns: int) -> bool:
        """Whether equal size and time mean equal contents, for a file that was read at `read_ns`."""
        return self.mtime_ns + RACY_NS < read_ns


def scan(folder: Path) -> Iterator[FileState]:
    """Yield the documents of a folder and of the folders in it, in order of names.

    Hidden files and links are left out: a link may lead out of the folder. CorpusError if the folder cannot be read.
    """
    if not folder.is_dir():
        raise CorpusError("there is no such folder", path=folder, fix="name a folder of documents")
    for place, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.startswith(".") or PurePath(name).suffix.lower() not in KINDS:
                continue
            path = Path(place, name)
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue  # removed meanwhile
            except OSError as error:
                _refuse(error)
            below = path.relative_to(folder).as_posix()
            if not is_unicode(below):
                _log.warning("%r is left out: its name is not UTF-8; rename it", below)
            elif path.is_file() and not path.is_symlink():
                yield FileState(below, status.st_size, min(status.st_mtime_ns, MOST_NS))


def is_unicode(name: str) -> bool:
    """Tell whether a name is text; Python keeps other bytes of a name as halves of surrogate pairs."""
    return name.encode("utf-8", "replace").decode() == name


def _refuse(error: OSError) -> NoReturn:
    raise CorpusError(f"cannot be read: {error.strerror}", path=error.filename)
