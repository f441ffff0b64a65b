"""One server: its tools, its calls, and its restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from glm_gguf.chat.grammar import MOST_TOOLS
from glm_gguf.chat.tools import error_text
from glm_gguf.errors import ToolServerError
from glm_gguf.mcp.server_entry import ServerEntry

if TYPE_CHECKING:
    import mcp_types

    from glm_gguf.mcp.connection import Connection

MOST_RESTARTS: Final = 3
"""Restarts of a server without a call that succeeds between them."""


class Server:
    """A server that is started again when it has ended; all coroutines run in one event loop."""

    def __init__(self, entry: ServerEntry, start_timeout: float) -> None:
        self.entry = entry
        self.tools: list[mcp_types.Tool] = []
        """The tools that are used, as the server listed them at its start."""
        self._start_timeout = start_timeout
        self._connection: Connection | None = None
        self._opening: asyncio.Task[Connection] | None = None
        self._restarts = 0
        self._lock = asyncio.Lock()
        self._is_closed = False

    async def start(self) -> None:
        """Connect and list the tools; ToolServerError where that fails, or a named tool is missing."""
        connection = await self._connected()
        listed = await connection.tools(self._start_timeout)
        names = {tool.name for tool in listed}
        missing = sorted((self.entry.included or frozenset()) - names)
        if missing:
            raise ToolServerError(f"it has no tool {missing[0]!r}", where="includeTools", fix="correct the name")
        self.tools = [tool for tool in listed if self.entry.uses(tool.name)]
        if len(self.tools) > MOST_TOOLS:
            fix = "name those that you want in includeTools"
            raise ToolServerError(f"it has {len(self.tools):,} tools, more than {MOST_TOOLS}", fix=fix)

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """Call a tool; return its result, or what went wrong, as text for the model."""
        from glm_gguf.mcp.result_text import result_text

        try:
            connection = await self._connected()
            result = await connection.call(tool, arguments)
        except ToolServerError as error:
            return error_text(f"{self.entry.name}: {error}")
        self._restarts = 0
        text = result_text(result)
        return error_text(text) if result.is_error else text

    async def close(self) -> None:
        """End the connection for good."""
        self._is_closed = True
        if self._opening is not None:
            self._opening.cancel()  # else its time to start would have to pass
        async with self._lock:
            if self._connection is not None:
                await self._connection.close()

    async def _connected(self) -> Connection:
        """Return the connection; open another where it is lost, unless that has happened too often."""
        from glm_gguf.mcp.connection import Connection

        async with self._lock:
            if self._connection is not None and not self._connection.lost:
                return self._connection
            if self._is_closed:
                raise ToolServerError("it was closed")
            if self._connection is not None:
                await self._connection.close()
                if self._restarts == MOST_RESTARTS:
                    raise ToolServerError(
                        f"it has ended again after {MOST_RESTARTS} restarts, and is not started again"
                    )
                self._restarts += 1
            self._opening = asyncio.create_task(Connection.open(self.entry, self._start_timeout))
            self._connection = await self._opening
            return self._connection
