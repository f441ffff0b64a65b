"""uvicorn's HTTP protocol with limits: time and size of heads, pipelined requests, and time without reading."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from glm_gguf.server.access.connections import Connections
from glm_gguf.server.limits import Limits
from glm_gguf.server.problem import RETRY_SECONDS

NO_ROOM: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: %d\r\nconnection: close\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 31\r\n\r\nThere are too many connections."
) % RETRY_SECONDS


RESET: Final = struct.pack("ii", 1, 0)
"""`struct linger`: close() sends RST and frees the send buffer, which the kernel otherwise keeps for minutes."""


class TooManyRequests(Exception):
    """Too many pipelined requests; the parser turns it into a 400."""


class HeadTimeoutProtocol(HttpToolsProtocol):
    """One connection. uvicorn alone waits forever for the rest of a head, and for a client that does not read."""

    def __init__(self, *args: Any, connections: Connections, limits: Limits, **given: Any) -> None:
        super().__init__(*args, **given)
        self._all = connections
        self._limits = limits
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._overhead = 0
        """Bytes since the last byte of a body: of heads, chunk headers or trailers."""
        self._answered: RequestResponseCycle | None = None
        """The latest request with a response, under way or done; later ones on this connection wait for it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the head timeout, or refuse the connection."""
        super().connection_made(transport)
        # Else a token waits until the client acknowledged the one before. asyncio knows TCP by the socket's protocol
        # number, which is 0 behind socket.create_server.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._all.admit(self):
            self._wait_for_head()
        else:
            transport.write(NO_ROOM)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers and disconnect every request on it; uvicorn disconnects only the last."""
        self._all.remove(self)
        self._stop_waiting()
        if self._write_timer is not None:
            self._write_timer.cancel()
        super().connection_lost(exc)
        for cycle in (self._answered, *(queued for queued, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self.pipeline.clear()

    def abort(self) -> None:
        """Close it at once."""
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse more data; 400 if too much of it belongs to no body."""
        self._overhead += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._overhead > self._limits.head_bytes:
            self.send_400_response("The head of the request is too long, or the data between the chunks of its body.")
        elif self._head_timer is None and self._is_idle:  # line ends before a head, or a body that nobody reads
            self._wait_for_head()

    def on_message_begin(self) -> None:
        """Start the head timeout."""
        self._wait_for_head()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header; trailers are ignored."""
        if self._head_timer is not None:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop the head timeout."""
        self._stop_waiting()
        super().on_headers_complete()
        if not self.pipeline:
            self._answered = self.cycle
        elif len(self.pipeline) > self._limits.pipelined:
            raise TooManyRequests

    def on_body(self, body: bytes) -> None:
        """Pass on a piece of a body."""
        self._overhead = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Mark the connection busy once no response is under way."""
        super().on_message_complete()
        if not self._is_idle:
            self._all.mark_busy(self)

    def on_response_complete(self) -> None:
        """Continue with the next request, and watch that the client reads the response."""
        if self.pipeline:
            self._answered = self.pipeline[-1][0]
        else:
            self._all.mark_idle(self)
        super().on_response_complete()
        self._watch_writing()

    @property
    def _is_idle(self) -> bool:
        return self._answered is None or (self._answered.response_complete and not self.pipeline)

    def _wait_for_head(self) -> None:
        self._stop_waiting()
        self._overhead = 0
        self._head_timer = self.loop.call_later(self._limits.head_seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _watch_writing(self, left: int | None = None) -> None:
        """Close the connection of a client that reads nothing for too long; asyncio keeps it even after close()."""
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        size = self.transport.get_write_buffer_size()
        if left is not None and size >= left:
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.abort()
        elif size:
            self._write_timer = self.loop.call_later(self._limits.stall_seconds, self._watch_writing, size)
