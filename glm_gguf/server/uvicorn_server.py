"""uvicorn with a graceful end: the first signal lets running answers finish, the second stops them."""

from __future__ import annotations

import asyncio
import logging
import socket
from functools import partial
from types import FrameType
from typing import Any, Final

import uvicorn
from fastapi import FastAPI

from glm_gguf.server.access.client_timeouts import HeadTimeoutProtocol
from glm_gguf.server.access.connections import Connections
from glm_gguf.server.access.descriptors import Shortage, free_descriptors, raise_descriptors
from glm_gguf.server.service import CLOSING_SECONDS, Service

LOGGER = logging.getLogger(__name__)
ACCEPTED: Final = 4
"""Connections that asyncio accepts at a time; without descriptors it logs as many errors."""
QUEUE: Final = 512
"""Connections that the kernel queues before accept()."""


class DrainingServer(uvicorn.Server):
    """Keeps listening while it ends, so that new requests get a 503."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Refuse new requests; on the second signal, stop the active ones."""
        if self._service.draining:
            self.should_exit = self.force_exit = True
        else:
            if self._service.active:
                answers = "1 answer" if self._service.active == 1 else f"{self._service.active} answers"
                LOGGER.warning("waiting for %s; Ctrl-C again cuts them off", answers)
            self._service.draining = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, with a kernel queue longer than asyncio's batch of accepts."""
        asyncio.get_running_loop().set_exception_handler(Shortage())
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(QUEUE)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down; after the second signal, close every connection, which ends each request as a disconnect does."""
        if self.force_exit:
            for connection in list(self.server_state.connections):
                connection.transport.abort()
            if self.server_state.tasks:
                await asyncio.wait(self.server_state.tasks, timeout=CLOSING_SECONDS)
        await super().shutdown(sockets)
        if self.force_exit:  # else uvicorn lets the app be cancelled
            await self.lifespan.shutdown()

    async def on_tick(self, counter: int) -> bool:
        """End when draining is done, or when the model could not be loaded."""
        ended = (self._service.draining and not self._service.active) or self._service.pool.start_failed
        return await super().on_tick(counter) or ended


def uvicorn_config(app: FastAPI) -> uvicorn.Config:
    """Configure uvicorn: no access log, no WebSockets, 5 seconds for idle connections at the end."""
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
    """Serve on a socket until a signal; returns after all is freed.

    Returns False if a thread does not end; Python would wait for it at exit.
    """
    service: Service = app.state.service
    raise_descriptors()
    server = DrainingServer(uvicorn_config(app), service)
    try:
        asyncio.run(server.serve([listener]))
    finally:
        ended = service.close()
    return ended
