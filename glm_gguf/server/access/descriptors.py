"""File descriptors: as many as the system gives, and connections no more than are left of them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import math
import os
from types import ModuleType
from typing import Any, Final

resource: ModuleType | None
try:
    import resource
except ImportError:  # Windows, which limits no process
    resource = None

LOGGER = logging.getLogger(__name__)
RESERVE: Final = 32
"""For files of the model, sessions, the log, and connections that are being closed."""
FEWEST: Final = 4
SILENCE: Final = 60.0
EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""Errors of accept() behind which asyncio waits a second."""
ENOUGH: Final = 10_240
"""OPEN_MAX of macOS, where the hard limit says infinite and more is refused."""


def raise_descriptors() -> None:
    """Allow this process as many descriptors as its hard limit says."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, ENOUGH) if hard == resource.RLIM_INFINITY else hard
    if soft not in (wanted, resource.RLIM_INFINITY):
        with contextlib.suppress(ValueError, OSError):  # then there are fewer connections
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Shortage:
    """An exception handler of event loops that says once a minute that descriptors ran out; asyncio always does."""

    def __init__(self) -> None:
        self._next = -math.inf

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Tell what went wrong where nobody waits for it."""
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in EXHAUSTED:
            loop.default_exception_handler(context)
        elif loop.time() >= self._next:
            self._next = loop.time() + SILENCE
            LOGGER.error("no connection can be taken: %s", error)


def free_descriptors() -> int:
    """Return for how many connections there are descriptors, beside those that are open and a reserve."""
    if resource is None:
        return ENOUGH
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = ENOUGH if soft == resource.RLIM_INFINITY else soft
    return max(limit - len(os.listdir("/dev/fd")) - RESERVE, FEWEST)
