"""Between ggml's client and a worker: passes messages on, and answers itself when the worker is lost.

Then it drops requests, and replies what llama.cpp can go on with until it returns: no memory, or zeros. Nobody uses
these: who called llama.cpp asks the link first (Context.decode, ModelHandle).
"""

from __future__ import annotations

import hashlib
import socket
from typing import Final, Protocol

from glm_gguf.errors import WorkerLostError
from glm_gguf.workers import rpc_frames as rpc
from glm_gguf.workers.sockets import CHUNK, pass_on, read_exactly, read_into

SMALLEST_WEIGHTS: Final = 2**10
"""Bytes; to send fewer takes less time than to ask."""


class Session(Protocol):
    """What a relay needs of a link."""

    def opened(self) -> socket.socket:
        """Open a connection to the worker; raises WorkerLostError."""

    def forget(self, connection: socket.socket) -> None:
        """Close it."""

    def lose_stream(self, reason: str) -> None:
        """Note that it broke."""


class Far:
    """The worker's side of a relay, which never fails: when it is lost, it takes everything and gives zeros."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._connection: socket.socket | None = None
        try:
            self._connection = session.opened()
        except WorkerLostError:
            return

    @property
    def lost(self) -> bool:
        """The worker is lost."""
        return self._connection is None

    def send(self, data: memoryview | bytes) -> None:
        """Send, or drop."""
        if self._connection is not None:
            try:
                self._connection.sendall(data)
            except OSError as error:
                self.lose(f"the connection broke: {error.strerror or error}")

    def fill(self, view: memoryview) -> None:
        """Receive, or fill with zeros."""
        if self._connection is not None:
            try:
                return read_into(self._connection, view)
            except EOFError:
                self.lose("it ended the connection")
            except OSError as error:
                self.lose(f"the connection broke: {error.strerror or error}")
        view[:] = bytes(len(view))

    def lose(self, reason: str) -> None:
        """Give the worker up."""
        self.close()
        self._session.lose_stream(reason)

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._session.forget(connection)


class Relay:
    """One connection of ggml's client. It sends one request at a time, so one thread serves both directions."""

    def __init__(self, session: Session, near: socket.socket) -> None:
        self._session = session
        self._near = near
        self._buffer = memoryview(bytearray(CHUNK))
        self._block = memoryview(bytearray(0))

    def run(self) -> None:
        """Pass messages on until ggml's client ends the connection."""
        with self._near:
            far = Far(self._session)
            try:
                while True:
                    self._request(far)
            except (EOFError, OSError):  # ggml's client has ended it
                return
            finally:
                far.close()

    def _request(self, far: Far) -> None:
        """Pass one request on, and its reply back."""
        head = read_exactly(self._near, rpc.HEAD.size)
        command, size = rpc.HEAD.unpack(head)
        if command == rpc.SET_TENSOR and size >= rpc.TENSOR_HEAD + SMALLEST_WEIGHTS:
            return self._tensor(far, head, size)
        if command == rpc.SET_TENSOR_HASH:  # ggml's cache of large tensors; ours is of all
            pass_on(self._near, size, lambda piece: None, self._buffer)
            return self._near.sendall(rpc.LENGTH.pack(1) + rpc.REPLIES[command])
        expected = None
        if size + len(head) <= len(self._buffer):
            payload = self._buffer[len(head) : len(head) + size]
            self._buffer[: len(head)] = head
            read_into(self._near, payload)
            if command == rpc.HELLO:  # no capabilities: RDMA would go past us
                payload[:] = bytes(size)
            expected = rpc.reply_length(command, payload)
            far.send(self._buffer[: len(head) + size])
        else:
            far.send(head)
            pass_on(self._near, size, far.send, self._buffer)
        if expected is not None:
            self._reply(far, command, expected)

    def _reply(self, far: Far, command: int, expected: int) -> None:
        """Pass a reply back. Its length is checked: ggml would abort on another."""
        length = memoryview(bytearray(rpc.LENGTH.size))
        far.fill(length)
        if not far.lost and rpc.LENGTH.unpack(length)[0] != expected:
            far.lose(f"it answered request {command} by {rpc.LENGTH.unpack(length)[0]} bytes of {expected}")
        if far.lost and command in rpc.REPLIES:
            return self._near.sendall(rpc.LENGTH.pack(expected) + rpc.REPLIES[command])
        if expected <= len(self._buffer):
            found = self._buffer[:expected]
            far.fill(found)
            whole = bytes(found) if not far.lost or command not in rpc.REPLIES else rpc.REPLIES[command]
            return self._near.sendall(rpc.LENGTH.pack(expected) + whole)
        self._near.sendall(rpc.LENGTH.pack(expected))
        while expected:
            piece = self._buffer[: min(expected, len(self._buffer))]
            far.fill(piece)
            self._near.sendall(piece)
            expected -= len(piece)

    def _tensor(self, far: Far, head: bytes, size: int) -> None:
        """Send a tensor: weights in blocks, but for those that the worker has."""
        tensor = read_exactly(self._near, rpc.TENSOR_HEAD)
        size -= rpc.TENSOR_HEAD
        if not rpc.is_weight(tensor):
            far.send(head + tensor)
            return pass_on(self._near, size, far.send, self._buffer)
        if not self._block:
            self._block = memoryview(bytearray(rpc.BLOCK))
        far.send(rpc.HEAD.pack(rpc.WEIGHTS, size + rpc.TENSOR_HEAD) + tensor)
        answer = memoryview(bytearray(1))
        while size:
            block = self._block[: min(size, rpc.BLOCK)]
            read_into(self._near, block)
            far.send(hashlib.sha256(block).digest())
            far.fill(answer)
            if answer != rpc.HAS:
                far.send(block)
            size -= len(block)
