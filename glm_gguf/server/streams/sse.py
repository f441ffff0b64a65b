"""Streams: chunks as they come, pings during silence, and an end when the client disconnects; server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from glm_gguf.server.problem import OPENAI, Problem

T = TypeVar("T")
KEEP_ALIVE: Final = b": keep-alive\n\n"
DONE: Final = b"data: [DONE]\n\n"


class ClientGone(Exception):
    """The client disconnected: nobody reads the response."""


def data(json_text: str) -> bytes:
    """Write one event without a name."""
    return f"data: {json_text}\n\n".encode()


def named(name: str, json_text: str) -> bytes:
    """Write one event with its name."""
    return f"event: {name}\ndata: {json_text}\n\n".encode()


def comment(text: str) -> bytes:
    """Write a comment, which clients pass over."""
    return f": {text}\n\n".encode()


def error_data(problem: Problem) -> bytes:
    """Write an error inside a stream, in OpenAI's form."""
    return data(OPENAI.text(problem))


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Await work while the client is connected; if it disconnects, cancel the work and raise ClientGone."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGone
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@dataclass(frozen=True, slots=True)
class StreamForm:
    """How an API writes a stream."""

    media_type: str = "text/event-stream"
    ping: bytes = KEEP_ALIVE
    """Bytes that no client reads; they show during silence that the connection is alive."""


class StreamedResponse(Response):
    """A streamed response; at its end it closes the generator, which stops the answer."""

    def __init__(
        self, pieces: AsyncGenerator[bytes, None], form: StreamForm, *, keep_alive: float, stall_seconds: float
    ) -> None:
        self.status_code = 200
        self.media_type = form.media_type
        self.background = None
        self._pieces = pieces
        self._keep_alive = keep_alive
        self._stall = stall_seconds
        self._ping = form.ping
        # X-Accel-Buffering: else nginx buffers the stream
        self.init_headers({"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write until the generator ends or the client disconnects."""
        try:
            await unless_gone(receive, self._written(send))
        except (ClientGone, TimeoutError):
            return
        finally:
            await self._pieces.aclose()

    async def _written(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        while True:
            piece = asyncio.ensure_future(anext(self._pieces, None))
            try:
                while not (await asyncio.wait({piece}, timeout=self._keep_alive))[0]:
                    await self._send(send, self._ping)
            finally:
                if not piece.done():
                    piece.cancel()
                    await asyncio.gather(piece, return_exceptions=True)
            written = piece.result()
            if written is None:
                break
            await self._send(send, written)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send, piece: bytes) -> None:
        """Send a piece; TimeoutError if the client does not read it."""
        async with asyncio.timeout(self._stall):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
