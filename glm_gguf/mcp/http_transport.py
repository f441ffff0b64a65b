"""Streamable HTTP to a server, with a bound on what it sends."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from mcp.client._transport import TransportStreams
from mcp.client.streamable_http import streamable_http_client

from glm_gguf.mcp.output_budget import OutputBudget
from glm_gguf.mcp.server_entry import HttpServer

TIMEOUT = httpx2.Timeout(30.0, read=None)  # a stream may be silent; each call has a limit of its own


@asynccontextmanager
async def http_transport(server: HttpServer, budget: OutputBudget) -> AsyncGenerator[TransportStreams, None]:
    """Yield the streams of messages from and to a server. Redirects to other origins are not followed."""

    async def bound(response: httpx2.Response) -> None:
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _BoundedStream(response.stream, budget)

    hooks = {"response": [bound]}
    async with (
        httpx2.AsyncClient(headers=dict(server.headers), timeout=TIMEOUT, event_hooks=hooks) as client,
        streamable_http_client(server.url, http_client=client) as streams,
    ):
        yield streams


class _BoundedStream(httpx2.AsyncByteStream):
    """The bytes of a response, counted."""

    def __init__(self, inner: httpx2.AsyncByteStream, budget: OutputBudget) -> None:
        self._inner = inner
        self._budget = budget

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for block in self._inner:
            self._budget.spend(len(block))
            yield block

    async def aclose(self) -> None:
        await self._inner.aclose()
