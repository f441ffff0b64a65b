"""A server in a thread of the test's own process, so that a test can look at its engine."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from server.questions import SHORT
from waiting import until

from glm_gguf import GLM
from glm_gguf.server.app import create_app
from glm_gguf.server.pool.catalogue import Catalogue
from glm_gguf.server.service import Service
from glm_gguf.server.settings import ServerSettings
from glm_gguf.server.uvicorn_server import QUEUE, uvicorn_config


@dataclass(frozen=True)
class Served:
    """A running server: its address and its service."""

    url: str
    address: tuple[str, int]
    service: Service

    @property
    def glm(self) -> GLM:
        (loaded,) = self.service.pool.loaded
        return loaded.glm

    def wait_until_loaded(self) -> None:
        until(lambda: len(self.service.pool.loaded) == 1)

    def wait_until_failed(self) -> None:
        until(lambda: self.service.pool.start_failed)


@contextlib.contextmanager
def serving(
    settings: ServerSettings, open_model: Callable[[], GLM] | Catalogue, *, wait: bool = True
) -> Iterator[Served]:
    app = create_app(settings, open_model)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn_config(app))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            service: Service = app.state.service
            until(lambda: server.started)
            listener.listen(QUEUE)  # as DrainingServer does
            running = Served(f"http://127.0.0.1:{listener.getsockname()[1]}", listener.getsockname(), service)
            if wait:
                running.wait_until_loaded()
            yield running
        finally:
            server.should_exit = True
            thread.join()


def idle(served: Served) -> bool:
    """Return whether the engine has no requests."""
    status = served.glm.status
    return not (status.running or status.waiting or status.embeddings)


def chat(url: str, body: Any = SHORT, **options: Any) -> httpx.Response:
    """Send a chat request; a body of bytes is sent as it is."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(f"{url}/v1/chat/completions", content=content, timeout=30, **options)


@contextlib.contextmanager
def connection(served: Served, head: bytes) -> Iterator[socket.socket]:
    """Open a connection and send these bytes."""
    with socket.create_connection(served.address, timeout=30) as made:
        made.sendall(head)
        yield made


def posted(body: bytes, length: int | None = None, path: bytes = b"/v1/chat/completions") -> bytes:
    """Return a request as bytes on the wire."""
    return b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (path, length or len(body), body)
