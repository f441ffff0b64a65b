"""Sockets that are read and written whole."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from glm_gguf.workers.address import Address

CHUNK: Final = 2**20
"""Bytes that are passed on at once."""


def connected(address: Address, seconds: float) -> socket.socket:
    """Connect; raises OSError. The time limit holds for later calls too, until it is changed."""
    connection = socket.create_connection((address.host, address.port), seconds)
    without_delay(connection)
    return connection


def without_delay(connection: socket.socket) -> None:
    """Send small messages at once."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def read_into(connection: socket.socket, view: memoryview) -> None:
    """Fill a buffer; EOFError where the other side ends before, OSError."""
    while view:
        count = connection.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]


class Inbox:
    """What comes in by a socket, read as much at once as there is: ggml sends a message in three pieces."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = memoryview(bytearray(CHUNK))
        self._start = self._end = 0

    @property
    def is_empty(self) -> bool:
        """The next byte has to be waited for."""
        return self._start == self._end

    def take(self, size: int) -> memoryview:
        """Return the next bytes, at most CHUNK, valid until the next call; EOFError where the other side ends."""
        if self._start + size > CHUNK:
            held = bytes(self._buffer[self._start : self._end])
            self._buffer[: len(held)] = held
            self._start, self._end = 0, len(held)
        while self._end - self._start < size:
            count = self._connection.recv_into(self._buffer[self._end :])
            if not count:
                raise EOFError
            self._end += count
        taken = self._buffer[self._start : self._start + size]
        self._start += size
        if self.is_empty:
            self._start = self._end = 0
        return taken

    def fill(self, view: memoryview) -> None:
        """Fill a buffer with the next bytes."""
        held = min(self._end - self._start, len(view))
        view[:held] = self.take(held)
        read_into(self._connection, view[held:])

    def pass_on(self, size: int, send: Callable[[memoryview], None]) -> None:
        """Pass the next bytes on, a buffer at a time."""
        while size:
            held = min(size, (self._end - self._start) or CHUNK)
            send(self.take(held))
            size -= held


def hang_up(connection: socket.socket) -> None:
    """End a connection that another thread may use: its call returns, and that thread closes the socket."""
    with suppress(OSError):  # it ended already
        connection.shutdown(socket.SHUT_RDWR)
