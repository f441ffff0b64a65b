"""The memory of all request bodies together: beyond its limit, the oldest incomplete body is evicted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from starlette.exceptions import HTTPException

from glm_gguf.server.problem import RETRY_SECONDS, Problem

BODY: Final = "glm_gguf.body"
"""Key of a request's Body in its ASGI scope."""
FREE_BYTES: Final = 2**16
"""Bytes of each body that do not count, so that small requests are always read."""
FULL: Final = Problem(
    503,
    "Other requests use all the memory for bodies; try again later.",
    "server_error",
    code="overloaded",
    retry_after=RETRY_SECONDS,
)


class BodyRefused(HTTPException):
    """A refused body; FastAPI passes errors of this base class through."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.status, problem.message)
        self.problem = problem


class Bodies:
    """The bodies of all active requests."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._incomplete: dict[Body, None] = {}  # oldest first

    def new_body(self) -> Body:
        """Return the empty body of a new request."""
        return Body(self)

    def start(self, body: Body) -> None:
        """Count a body as incomplete: it may be evicted."""
        self._incomplete[body] = None

    def add(self, body: Body, size: int) -> None:
        """Add bytes, evicting incomplete bodies if need be; BodyRefused if none is left to evict."""
        while self._held + size > self._most:
            first = next((other for other in self._incomplete if other is not body), None)
            if first is None:
                raise BodyRefused(FULL)
            first.evict()
        self._held += size

    def release(self, body: Body, size: int) -> None:
        """Free the bytes of a body."""
        self._held -= size
        self._incomplete.pop(body, None)

    def complete(self, body: Body) -> None:
        """Count a body as complete: it is no longer evicted."""
        self._incomplete.pop(body, None)


class Body:
    """The memory of one body, from its first byte to the end of the response, or until it cannot be received."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._limit: asyncio.Timeout | None = None
        self._size = 0
        self._held = 0
        self.evicted = False
        """Another body needed the memory."""

    @contextmanager
    def incomplete(self, limit: asyncio.Timeout) -> Iterator[None]:
        """Receive it in the block. An eviction expires the reader's time limit; an error frees the memory at once."""
        self._limit = limit
        self._bodies.start(self)
        try:
            yield
        except BaseException:
            self.release()
            raise
        self._bodies.complete(self)

    def add(self, size: int) -> None:
        """Add a piece; BodyRefused if there is no memory for it."""
        self._size += size
        more = max(self._size - FREE_BYTES, 0) - self._held
        self._bodies.add(self, more)
        self._held += more

    def evict(self) -> None:
        """Free its memory and stop its reader."""
        self.evicted = True
        self.release()
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time())

    def release(self) -> None:
        """Free its memory; safe to call twice."""
        self._bodies.release(self, self._held)
        self._held = 0
