"""A server's process: its lines are messages, and it ends with all processes that it has started.

The package's own transport reads lines of any length, and leaves the children of a server that has died.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import anyio
import mcp_types
import psutil
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client._transport import TransportStreams
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage

from glm_gguf.errors import ToolServerError
from glm_gguf.mcp.output_budget import OutputBudget
from glm_gguf.mcp.server_entry import StdioServer

TO_END: Final = 2.0
"""Seconds for a process to end after its input has closed, and again after SIGTERM."""
STDERR_KEPT: Final = 2000
MARK: Final = "GLM_GGUF_MCP_SERVER"
"""Variable that names a server to its processes: those that left its group, or lost their parent, are found by it."""
GONE: Final = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream, OSError)


@dataclass(slots=True)
class ProcessTrace:
    """What is known of a server's process, for the text of an error."""

    stderr: bytearray = field(default_factory=bytearray)
    """The end of its standard error."""
    failure: str | None = None
    """Why its output is not read any more."""
    ended: anyio.Event = field(default_factory=anyio.Event)
    """Its output has ended."""

    @property
    def last_line(self) -> str:
        """The last line of its standard error."""
        lines = self.stderr.decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


@asynccontextmanager
async def stdio_transport(
    server: StdioServer, budget: OutputBudget, trace: ProcessTrace
) -> AsyncGenerator[TransportStreams, None]:
    """Start a server and yield the streams of messages from and to it; end its processes at the end."""
    mark = secrets.token_hex(16)
    process = await _started(server, mark)
    received, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, accepted = anyio.create_memory_object_stream[SessionMessage](0)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_read, process.stdout, received, budget, trace)
            tasks.start_soon(_write, process.stdin, accepted, received)
            tasks.start_soon(_keep_stderr, process.stderr, trace)
            try:
                yield incoming, outgoing
            finally:
                tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process, mark)
        for stream in (received, incoming, outgoing, accepted):
            stream.close()


async def _started(server: StdioServer, mark: str) -> Process:
    """Start the process, in a session of its own: a terminal's Ctrl-C is not for it."""
    environment = get_default_environment() | dict(server.environment) | {MARK: mark}
    program = shutil.which(server.command, path=environment.get("PATH"))
    if program is None:
        fix = "install it, or give the whole path"
        raise ToolServerError(f"there is no program {server.command!r} on the PATH", where="command", fix=fix)
    try:
        return await anyio.open_process(
            [program, *server.arguments], cwd=server.directory, env=environment, start_new_session=True
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ToolServerError(f"{server.command} cannot be started: {reason}", where="command") from error


async def _read(
    stdout: ByteReceiveStream,
    to: MemoryObjectSendStream[SessionMessage | Exception],
    budget: OutputBudget,
    trace: ProcessTrace,
) -> None:
    """Pass on each line as a message; the stream ends with the process, or where it floods."""
    line = bytearray()
    with to, suppress(*GONE):
        try:
            async for block in stdout:
                budget.spend(len(block))
                *ends, rest = block.split(b"\n")
                for end in ends:
                    await to.send(_message(bytes(line + end)))
                    line.clear()
                line += rest
        except ToolServerError as error:
            trace.failure = error.what
    trace.ended.set()


def _message(line: bytes) -> SessionMessage | Exception:
    """Parse a line; what is no message is an exception, which the session passes over."""
    try:
        return SessionMessage(mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:
        return _failed_answer(line) or error


def _failed_answer(line: bytes) -> SessionMessage | None:
    """Return an error in the place of a malformed answer, such as one that is too deep: else its request would wait."""
    try:
        read = json.loads(line)
    except (ValueError, RecursionError):
        return None
    named = read.get("id") if isinstance(read, dict) else None
    if isinstance(named, bool) or not isinstance(named, int | str):
        return None
    error = mcp_types.ErrorData(code=mcp_types.PARSE_ERROR, message="its answer is malformed")
    return SessionMessage(mcp_types.JSONRPCError(jsonrpc="2.0", id=named, error=error))


async def _write(
    stdin: ByteSendStream,
    messages: MemoryObjectReceiveStream[SessionMessage],
    received: MemoryObjectSendStream[SessionMessage | Exception],
) -> None:
    """Write each message as a line. Where the process takes none, the connection ends."""
    with messages:
        try:
            async for message in messages:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await stdin.send(text.encode() + b"\n")
        except GONE:
            received.close()


async def _keep_stderr(stderr: ByteReceiveStream, trace: ProcessTrace) -> None:
    """Read standard error to its end, and keep the last part."""
    with suppress(*GONE):
        async for block in stderr:
            trace.stderr += block
            del trace.stderr[:-STDERR_KEPT]


async def _end(process: Process, mark: str) -> None:
    """Close the input, wait, and kill the process and all that it has started."""
    assert process.stdin is not None
    await _within(0.5, process.stdin.aclose())  # a full pipe would keep it open
    if not await _ended(process, TO_END):
        _signal_group(process.pid, "SIGTERM")
        await _ended(process, TO_END)
    _signal_group(process.pid, "SIGKILL")  # also of one that has ended: its children may go on
    for left in _marked(mark):
        with suppress(psutil.Error):
            left.kill()
    await _ended(process, TO_END)
    await _within(0.5, process.aclose())


async def _within(seconds: float, closing: Awaitable[None]) -> None:
    """Close something, or give it up after some time."""
    with anyio.move_on_after(seconds), suppress(*GONE):
        await closing


async def _ended(process: Process, seconds: float) -> bool:
    """Tell whether a process ends within a time. asyncio's wait() would also wait for children that hold its pipes."""
    with anyio.move_on_after(seconds):
        while process.returncode is None:
            await anyio.sleep(0.01)
    return process.returncode is not None


def _marked(mark: str) -> Iterator[psutil.Process]:
    """Yield the processes whose environment has the mark."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # another user's, or gone
            if process.environ().get(MARK) == mark:
                yield process


def _signal_group(group: int, name: str) -> None:
    """Send a signal to the processes of a group: its leader's id is the group's."""
    if sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, getattr(signal, name))
