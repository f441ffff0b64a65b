"""uvicorn's HTTP protocol, which also hangs up on who does not say soon what is wanted, or too much, or never reads."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from glm_gguf.server.access.connections import Connections
from glm_gguf.server.limits import Limits

NO_ROOM: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 31\r\n\r\nThere are too many connections."
)


RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER's `struct linger`: closing sends RST and frees the send buffer, which the kernel else keeps for minutes."""


class TooManyRequests(Exception):
    """More requests on one connection than are kept in line; the parser makes a 400 of it."""


class HeadTimeoutProtocol(HttpToolsProtocol):
    """One connection. uvicorn itself waits for ever, for the rest of a head as for who does not read its response."""

    def __init__(self, *args: Any, connections: Connections, limits: Limits, **given: Any) -> None:
        super().__init__(*args, **given)
        self._all = connections
        self._limits = limits
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._overhead = 0
        """Bytes that came since the last that belong to a body: of a head, of a chunk's, or of trailers."""
        self._answered: RequestResponseCycle | None = None
        """The request that is being answered, or was; others on this connection wait for it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait, where there is room."""
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
        """Wait no longer, and tell every request on it, not only the last."""
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

    def hang_up(self) -> None:
        """Close it at once."""
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take more, unless it is too much that belongs to no body."""
        self._overhead += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._overhead > self._limits.head_bytes:
            self.send_400_response(
                "The head of the request is too long, or what stands between the pieces of its body."
            )
        elif self._head_timer is None and self._is_idle:  # line ends before a head, or a body that nobody reads
            self._wait_for_head()

    def on_message_begin(self) -> None:
        """Wait for the rest of the head."""
        self._wait_for_head()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers are passed over."""
        if self._head_timer is not None:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._stop_waiting()
        super().on_headers_complete()
        if not self.pipeline:
            self._answered = self.cycle
        elif len(self.pipeline) > self._limits.pipelined:
            raise TooManyRequests

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._overhead = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there."""
        super().on_message_complete()
        if not self._is_idle:
            self._all.mark_busy(self)

    def on_response_complete(self) -> None:
        """Go on with the next request, and see that the response is taken."""
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
        """Hang up on who takes nothing of a response for too long; asyncio would keep it even behind close()."""
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        size = self.transport.get_write_buffer_size()
        if left is not None and size >= left:
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.hang_up()
        elif size:
            self._write_timer = self.loop.call_later(self._limits.stall_seconds, self._watch_writing, size)
