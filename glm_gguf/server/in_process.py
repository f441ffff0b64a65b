"""The server's APIs without a network: requests are given to the app, and answered as if a client had sent them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI
from starlette.types import Message

from glm_gguf.batches.result_line import Answer
from glm_gguf.errors import EngineError
from glm_gguf.server.service import Service

FULL: Final = (429, 503)
"""Statuses of a request that the server may answer later, if it says when."""


class InProcessClient:
    """Sends requests to the app, with a key of its own."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        service: Service = app.state.service
        keys = service.settings.api_keys
        authorization = [(b"authorization", f"Bearer {keys[0]}".encode())] if keys else []
        host = service.settings.hosts[0] if service.settings.hosts else "localhost"
        self._headers = [(b"host", host.encode()), (b"content-type", b"application/json"), *authorization]

    async def __call__(self, url: str, body: bytes) -> Answer:
        """Return the response to a POST; cancelling it stops the model."""
        response = _Response(body)
        await self._app(self._scope(url, len(body)), response.receive, response.send)
        return response.answer()

    def _scope(self, url: str, length: int) -> dict[str, Any]:
        """Return what an ASGI server tells of a request (ASGI 3.0, HTTP)."""
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": url,
            "raw_path": url.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [*self._headers, (b"content-length", str(length).encode())],
            "client": ("127.0.0.1", 0),
            "server": ("127.0.0.1", 0),
            "state": {},
        }


class _Response:
    """One request's body, and what the app sends."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._status = 0
        self._headers: dict[bytes, bytes] = {}
        self._pieces: list[bytes] = []

    async def receive(self) -> Message:
        """Give the body; after that nothing comes, since this client does not leave."""
        if self._body is None:
            await asyncio.Event().wait()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Message) -> None:
        """Take a part of the response."""
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], dict(message["headers"])
        elif message["type"] == "http.response.body":
            self._pieces.append(message.get("body", b""))

    def answer(self) -> Answer:
        """Return the whole response."""
        wait = self._headers.get(b"retry-after") if self._status in FULL else None
        return Answer(
            self._status,
            self._headers.get(b"x-request-id", b"").decode(),
            b"".join(self._pieces).decode(),
            None if wait is None else float(wait),
        )


@asynccontextmanager
async def in_process(app: FastAPI) -> AsyncIterator[InProcessClient]:
    """Load the app's one model, and free it at the end; EngineError if it cannot be loaded."""
    service: Service = app.state.service
    try:
        await service.pool.start()
        if service.pool.start_failed:
            raise EngineError("the model could not be loaded", fix="the log says why")
        yield InProcessClient(app)
    finally:
        await service.pool.stop()
        service.close()
