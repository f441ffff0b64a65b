"""uvicorn, which on the first signal lets running answers end, and on the second does not."""

from __future__ import annotations

import asyncio
import logging
import socket
from functools import partial
from types import FrameType
from typing import Any, Final

import uvicorn
from fastapi import FastAPI

from glm_gguf.server.access.connections import Connections
from glm_gguf.server.access.descriptors import Shortage, free_descriptors, raise_descriptors
from glm_gguf.server.access.head_timeout import HeadTimeoutProtocol
from glm_gguf.server.service import CLOSING_SECONDS, Service

LOGGER = logging.getLogger(__name__)
ACCEPTED: Final = 4
"""Connections that asyncio takes at a time; where descriptors run out it complains so often."""
QUEUE: Final = 512
"""Connections that the kernel keeps until they are taken."""


class DrainingServer(uvicorn.Server):
    """Goes on listening while it ends, so that whoever comes is told."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take no more requests; the second signal ends those that run."""
        if self._service.draining:
            self.should_exit = self.force_exit = True
        else:
            LOGGER.info("%d requests are being answered; a second signal ends them", self._service.active)
            self._service.draining = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, with a longer queue in the kernel than asyncio takes out of it at a time."""
        asyncio.get_running_loop().set_exception_handler(Shortage())
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(QUEUE)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End; behind the second signal every client is hung up on, and what was done for it ends as it always does."""
        if self.force_exit:
            for connection in list(self.server_state.connections):
                connection.transport.abort()
            if self.server_state.tasks:
                await asyncio.wait(self.server_state.tasks, timeout=CLOSING_SECONDS)
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn would leave the app to be cancelled
            await self.lifespan.shutdown()

    async def on_tick(self, counter: int) -> bool:
        """End where there is nothing left to do, or nothing can be done, for the model could not be loaded."""
        ended = (self._service.draining and not self._service.active) or self._service.load_failed
        return await super().on_tick(counter) or ended


def uvicorn_config(app: FastAPI) -> uvicorn.Config:
    """Say how uvicorn serves: no log of requests, no WebSockets, 5 seconds for connections that are only held open."""
    service: Service = app.state.service
    limits = service.settings.limits
    connections = Connections(min(limits.connections, free_descriptors()))
    protocol: Any = partial(HeadTimeoutProtocol, connections=connections, limits=limits)
    return uvicorn.Config(
        app,
        http=protocol,
        backlog=ACCEPTED,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )


def run_server(app: FastAPI, listener: socket.socket) -> bool:
    """Serve on a socket until a signal comes; returns when everything is freed.

    False where a thread goes on and on, for which Python would wait at its own end.
    """
    service: Service = app.state.service
    raise_descriptors()
    server = DrainingServer(uvicorn_config(app), service)
    try:
        asyncio.run(server.serve([listener]))
    finally:
        ended = service.close()
    return ended
