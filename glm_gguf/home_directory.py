"""Paths below a home directory: the user's own directories, and `~` in what a user writes.

A service may have no home: then there is no user's directory, and nothing else is missing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from glm_gguf.errors import RequestError


def user_home() -> Path | None:
    """Return the user's home; None where there is none."""
    found = os.path.expanduser("~")
    return Path(found) if os.path.isabs(found) else None


def user_path(kind: str) -> Path | None:
    """Return the directory of this program for `config`, `data` or `cache`; None without a home."""
    import platformdirs  # a tenth of a second on a cold start

    asked: Callable[..., Path] = getattr(platformdirs, f"user_{kind}_path")
    try:
        found = asked("glm-gguf", appauthor=False)
    except RuntimeError:  # platformdirs from 4.14 on; older ones return a relative path
        return None
    return found if found.is_absolute() else None


def expanded(text: str) -> Path:
    """Return a path with `~` or `~USER` replaced; RequestError for the home of nobody."""
    found = os.path.expanduser(text)
    if found.startswith("~"):
        raise RequestError(f"{text!r} begins with the home of nobody", fix="write the whole path")
    return Path(found)
