"""Imports of the libraries of the extra `research`; a clear error where one is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from glm_gguf.errors import RequestError


@contextmanager
def extra_required(what: str) -> Iterator[None]:
    """Import libraries within it; RequestError says that `what` needs them, and names the extra."""
    try:
        yield
    except ImportError as error:
        name = (error.name or "a library").partition(".")[0]
        fix = "pip install 'glm-gguf[research]'"
        raise RequestError(f"{what} need {name}, which cannot be imported ({error})", fix=fix) from error
