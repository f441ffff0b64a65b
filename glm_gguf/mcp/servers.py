"""The servers of a configuration file, running together on one event loop."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

from glm_gguf.chat.events import ToolCall
from glm_gguf.errors import RequestError, ToolServerError
from glm_gguf.loop_thread import LoopThread
from glm_gguf.mcp.library import require_mcp
from glm_gguf.mcp.server import Server
from glm_gguf.mcp.servers_file import read_servers
from glm_gguf.mcp.tool import McpTool, usable_tools

LOGGER = logging.getLogger(__name__)
START_TIMEOUT: Final = 60.0
CLOSE_TIMEOUT: Final = 15.0
"""Seconds; each server's processes are killed after about five."""


class McpServers:
    """The MCP servers that a file names, from `with` to its end; iterating gives their tools.

    `with McpServers("mcp.json") as servers: glm.run("…", tools=[…, *servers])`, and the same with `async with`.
    The file has the editors' form: {"mcpServers": {NAME: {"command": …, "args": […]} or {"url": …}}}.
    RequestError names what is wrong with it, ToolServerError the server that does not start within `start_timeout`
    seconds.
    """

    def __init__(self, path: str | os.PathLike[str], start_timeout: float = START_TIMEOUT) -> None:
        if isinstance(start_timeout, bool) or not isinstance(start_timeout, int | float) or not start_timeout > 0:
            fix = "give a positive number"
            raise RequestError(f"{start_timeout!r} seconds", field="start_timeout", fix=fix)
        self._path = path
        self._entries = read_servers(path)
        self._start_timeout = start_timeout
        self._servers: list[Server] = []
        self._tools: tuple[McpTool, ...] = ()
        self.left_out: tuple[str, ...] = ()
        """Tools that no model can call, each with the reason."""
        self._loop: LoopThread | None = None

    def __iter__(self) -> Iterator[McpTool]:
        """Yield the tools; before `with`, RequestError."""
        if self._loop is None:
            raise RequestError("the servers do not run", fix="use them in `with McpServers(…) as servers:`")
        return iter(self._tools)

    def approves(self, call: ToolCall) -> bool:
        """Tell whether the file lets a call run without a question."""
        called = [tool for tool in self._tools if tool.declared_name == call.name]
        return any(tool.name in tool.server.entry.approved for tool in called)

    def start(self) -> None:
        """Start all servers side by side and list their tools. Where one fails, all are ended."""
        require_mcp()
        self._loop = LoopThread("MCP servers")
        atexit.register(self.close)
        try:
            self._loop.submit(self._start()).result()
        except BaseException:
            self.close()
            raise
        found = [one for server in self._servers for one in usable_tools(server, self._loop)]
        self._tools = tuple(one for one in found if not isinstance(one, str))
        self.left_out = tuple(one for one in found if isinstance(one, str))
        for told in self.left_out:
            LOGGER.warning("%s", told)

    def close(self) -> None:
        """End all servers and their processes; calls under way are told so."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        atexit.unregister(self.close)
        try:
            loop.submit(self._close()).result(CLOSE_TIMEOUT)
        except TimeoutError:
            LOGGER.warning("MCP servers could not be ended within %g seconds", CLOSE_TIMEOUT)
        loop.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    async def _start(self) -> None:
        self._servers = [Server(entry, self._start_timeout) for entry in self._entries]
        outcomes = await asyncio.gather(*(server.start() for server in self._servers), return_exceptions=True)
        for server, outcome in zip(self._servers, outcomes, strict=True):
            if isinstance(outcome, ToolServerError):
                where = ".".join(("mcpServers", server.entry.name, *([outcome.where] if outcome.where else [])))
                raise ToolServerError(outcome.what, path=self._path, where=where, fix=outcome.fix) from outcome
            if isinstance(outcome, BaseException):
                raise outcome

    async def _close(self) -> None:
        await asyncio.gather(*(server.close() for server in self._servers))
