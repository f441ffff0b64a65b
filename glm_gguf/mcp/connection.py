"""An open connection to one server; everything here runs in one event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Self

import anyio
import mcp_types
from mcp.client._transport import TransportStreams
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError

from glm_gguf.errors import MOST_WORDS, ToolServerError, in_one_line
from glm_gguf.mcp.http_transport import http_transport
from glm_gguf.mcp.output_budget import OutputBudget
from glm_gguf.mcp.server_entry import ServerEntry, StdioServer
from glm_gguf.mcp.stdio_transport import ProcessTrace, stdio_transport
from glm_gguf.whole_json import whole_json

MOST_LISTED: Final = 10_000
"""Tools that a server may list."""
LOST: Final = (mcp_types.CONNECTION_CLOSED, mcp_types.INVALID_REQUEST)
"""Codes of errors after which HTTP needs another connection; the second is that of a session that has ended."""


class Connection:
    """A server that answers. A task of its own opens and closes it, as anyio's scopes need."""

    def __init__(self, entry: ServerEntry) -> None:
        self._entry = entry
        self._budget = OutputBudget()
        self._trace = ProcessTrace()
        self.lost = False
        """The server has ended, or its session: calls need another connection."""
        self._client: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._scope = anyio.CancelScope()
        self._task = asyncio.create_task(self._hold())

    @classmethod
    async def open(cls, entry: ServerEntry, seconds: float) -> Self:
        """Connect to a server; ToolServerError where that fails or takes longer."""
        opened = cls(entry)
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(opened._client)
        except TimeoutError:
            await opened.close()
            raise ToolServerError(f"it did not answer within {seconds:g} seconds{opened._told()}") from None
        except BaseException:
            await opened.close()
            raise
        return opened

    async def tools(self, seconds: float) -> list[mcp_types.Tool]:
        """Return the server's tools; ToolServerError where they are too many, or the list takes longer."""
        try:
            async with asyncio.timeout(seconds):
                return await self._listed()
        except TimeoutError:
            raise ToolServerError(f"it did not list its tools within {seconds:g} seconds") from None

    async def _listed(self) -> list[mcp_types.Tool]:
        """Return the tools of all pages."""
        client, found, cursor = await self._client, list[mcp_types.Tool](), None
        while True:
            try:
                page = await client.session.list_tools(params=mcp_types.PaginatedRequestParams(cursor=cursor))
            except (MCPError, ValueError) as error:
                raise ToolServerError(f"its tools cannot be listed: {self._reason(error)}") from error
            found += page.tools
            cursor = page.next_cursor
            if cursor is None:
                return found
            if len(found) > MOST_LISTED or not page.tools:
                raise ToolServerError(f"its list of tools does not end after {len(found):,} tools")

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> mcp_types.CallToolResult:
        """Call a tool; ToolServerError where it answers with an error, or ends.

        The session's own `call_tool` would check the result by the server's schema, whose patterns could run for ever.
        """
        self._budget.renew()
        whole = whole_json(json.dumps(dict(arguments)))  # what UTF-8 cannot encode would end the connection
        parameters = mcp_types.CallToolRequestParams(name=tool, arguments=whole)
        client = await self._client
        try:
            return await client.session.send_request(
                mcp_types.CallToolRequest(params=parameters), mcp_types.CallToolResult
            )
        except MCPError as error:
            is_process = isinstance(self._entry.access, StdioServer)
            self.lost = self.lost or error.code in LOST[: 1 if is_process else 2]
            raise ToolServerError(self._reason(error)) from error
        except ValueError as error:
            raise ToolServerError(f"its result is malformed: {self._reason(error)}") from error

    async def close(self) -> None:
        """End the connection, and the server's processes where they were started here."""
        self._scope.cancel()
        await asyncio.wait([self._task])

    async def _hold(self) -> None:
        """Connect, and keep the connection until it is closed."""
        with self._scope:
            try:
                async with Client(self._transport(), client_info=_info(), cache=None) as client:
                    self._client.set_result(client)
                    await self._trace.ended.wait()
            except Exception as error:  # of the server, the transport or their task groups
                if not self._client.done():
                    self._client.set_exception(self._error(error))
            finally:
                self.lost = True
        if not self._client.done():
            self._client.cancel()
        elif not self._client.cancelled():
            self._client.exception()  # else asyncio would log one that nobody has awaited

    def _transport(self) -> AbstractAsyncContextManager[TransportStreams]:
        access = self._entry.access
        if isinstance(access, StdioServer):
            return stdio_transport(access, self._budget, self._trace)
        return http_transport(access, self._budget)

    def _error(self, error: BaseException) -> ToolServerError:
        """Return the error of a connection that could not be opened."""
        first = _first(error)
        if isinstance(first, ToolServerError):
            return first
        return ToolServerError(f"it cannot be used: {self._reason(first)}")

    def _reason(self, error: BaseException) -> str:
        closed = isinstance(error, MCPError) and error.code == mcp_types.CONNECTION_CLOSED
        told = error.message if isinstance(error, MCPError) else in_one_line(error)
        what = self._trace.failure or ("it ended" if closed else told[:MOST_WORDS])
        return f"{what}{self._told()}" if closed else what

    def _told(self) -> str:
        """Return what the server wrote last to its standard error."""
        return f" (it wrote: {self._trace.last_line[:300]})" if self._trace.last_line else ""


def _first(error: BaseException) -> BaseException:
    """Return the first error in groups of them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _info() -> mcp_types.Implementation:
    return mcp_types.Implementation(name="glm-gguf", version="0.1.0")
