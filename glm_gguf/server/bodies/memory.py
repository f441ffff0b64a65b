"""How many bytes of bodies are in memory together: where there are too many, who sends slowest makes room."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.exceptions import HTTPException

from glm_gguf.server.problem import RETRY_SECONDS, Problem

BODY: Final = "glm_gguf.body"
"""Where in the ASGI scope of a request its Body stands."""
FREE_BYTES: Final = 2**16
"""So much of a body counts nothing: small requests are read however many large ones there are."""
FULL: Final = Problem(
    503,
    "The bodies of other requests take all the memory there is for them; try again later.",
    "server_error",
    code="overloaded",
    retry_after=RETRY_SECONDS,
)


class BodyRefused(HTTPException):
    """A body that is not read; FastAPI lets errors of this base through."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.status, problem.message)
        self.problem = problem


class Bodies:
    """The bodies of all requests that are being answered."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._incomplete: dict[Body, None] = {}  # who began first is first

    def new_body(self) -> Body:
        """Return the body of a request, of which nothing has come yet."""
        return Body(self)

    def start(self, body: Body) -> None:
        """Something comes of it."""
        self._incomplete[body] = None

    def add(self, body: Body, size: int) -> None:
        """Hold more bytes; BodyRefused where there is no room, and no other that is still coming makes any."""
        while self._held + size > self._most:
            first = next((other for other in self._incomplete if other is not body), None)
            if first is None:
                raise BodyRefused(FULL)
            first.evict()
        self._held += size

    def release(self, body: Body, size: int) -> None:
        """Hold bytes no longer."""
        self._held -= size
        self._incomplete.pop(body, None)

    def complete(self, body: Body) -> None:
        """All of it is there."""
        self._incomplete.pop(body, None)


class Body:
    """What is held of one request, from its first byte to the end of its response."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._limit: asyncio.Timeout | None = None
        self._size = 0
        self._held = 0
        self.evicted = False
        """Others needed the room."""

    def start(self, limit: asyncio.Timeout) -> None:
        """Begin to receive it; who receives it stops where the time limit says so."""
        self._limit = limit
        self._bodies.start(self)

    def add(self, size: int) -> None:
        """Count a piece; BodyRefused where there is no room for it."""
        self._size += size
        more = max(self._size - FREE_BYTES, 0) - self._held
        self._bodies.add(self, more)
        self._held += more

    def complete(self) -> None:
        """All of it is there: nothing takes it away before its response has ended."""
        self._bodies.complete(self)

    def evict(self) -> None:
        """Stop to receive it."""
        self.evicted = True
        self.release()
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time())

    def release(self) -> None:
        """Hold nothing of it any more; doing it twice does no harm."""
        self._bodies.release(self, self._held)
        self._held = 0
