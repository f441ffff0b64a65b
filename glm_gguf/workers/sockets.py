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


def read_exactly(connection: socket.socket, size: int) -> bytes:
    """Read so many bytes; EOFError where the other side ends before, OSError."""
    buffer = bytearray(size)
    read_into(connection, memoryview(buffer))
    return bytes(buffer)


def pass_on(source: socket.socket, size: int, send: Callable[[memoryview], None], buffer: memoryview) -> None:
    """Pass so many bytes on, a buffer at a time."""
    while size:
        piece = buffer[: min(size, len(buffer))]
        read_into(source, piece)
        send(piece)
        size -= len(piece)


def hang_up(connection: socket.socket) -> None:
    """End a connection that another thread may use: its call returns, and that thread closes the socket."""
    with suppress(OSError):  # it ended already
        connection.shutdown(socket.SHUT_RDWR)
