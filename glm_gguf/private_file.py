"""Files that hold conversations, documents or keys: nobody but their owner may read them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

PRIVATE: Final = 0o600
"""The mode of such a file when it is made. One that is there keeps the mode that its owner gave it."""


def open_private(path: str, flags: int) -> int:
    """Open a file: the `opener` of Python's open."""
    return os.open(path, flags, PRIVATE)


def touch_private(path: Path) -> None:
    """Make an empty file where there is none: for SQLite, whose side files take the mode of their database."""
    if not path.exists():
        os.close(open_private(os.fspath(path), os.O_CREAT | os.O_WRONLY))
