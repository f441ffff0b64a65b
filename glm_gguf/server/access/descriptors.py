"""File descriptors: raises their limit, and counts the connections that they allow."""

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
"""For the model's files, sessions, the log, and closing connections."""
FEWEST: Final = 4
REPEAT_SECONDS: Final = 60.0
EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""Errors of accept() after which asyncio waits a second."""
ENOUGH: Final = 10_240
"""OPEN_MAX of macOS, which refuses more even with an infinite hard limit."""


def raise_descriptors() -> None:
    """Raise this process's limit of descriptors to its hard limit."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, ENOUGH) if hard == resource.RLIM_INFINITY else hard
    if soft not in (wanted, resource.RLIM_INFINITY):
        with contextlib.suppress(ValueError, OSError):  # then there are fewer connections
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Shortage:
    """An event loop's exception handler that logs a shortage of descriptors once a minute, not each time."""

    def __init__(self) -> None:
        self._next = -math.inf

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log an error that no task awaits."""
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in EXHAUSTED:
            loop.default_exception_handler(context)
        elif loop.time() >= self._next:
            self._next = loop.time() + REPEAT_SECONDS
            LOGGER.error("no connection can be accepted: %s", error)


def free_descriptors() -> int:
    """Return how many connections have descriptors, after the open ones and a reserve."""
    if resource is None:
        return ENOUGH
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = ENOUGH if soft == resource.RLIM_INFINITY else soft
    return max(limit - len(os.listdir("/dev/fd")) - RESERVE, FEWEST)
