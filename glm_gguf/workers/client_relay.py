"""Between ggml's client and a worker: passes messages on, and answers itself when the worker is lost.

Then it drops requests, and replies what llama.cpp can go on with until it returns: memory that is not there, and zeros.
Nobody uses these: who called llama.cpp asks the link first (Context.decode, ModelHandle).
"""

from __future__ import annotations

import hashlib
import socket
from typing import Final, Protocol

from glm_gguf.errors import WorkerLostError
from glm_gguf.workers import rpc_frames as rpc
from glm_gguf.workers.sockets import CHUNK, Inbox

SMALLEST_WEIGHTS: Final = 2**10
"""Bytes; to send fewer takes less time than to ask."""


MOST_PENDING: Final = 2**16
"""Bytes of requests that are sent together."""


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
            self._inbox = Inbox(self._connection)
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
                return self._inbox.fill(view)
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
        self._inbox = Inbox(near)
        self._pending = bytearray()
        """Requests without a reply, to be sent together with those that follow."""
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
        head = bytes(self._inbox.take(rpc.HEAD.size))
        command, size = rpc.HEAD.unpack(head)
        if command == rpc.SET_TENSOR and size >= rpc.TENSOR_HEAD + SMALLEST_WEIGHTS:
            return self._tensor(far, head, size)
        if command == rpc.SET_TENSOR_HASH:  # ggml's cache of large tensors; ours is of all
            self._inbox.pass_on(size, lambda piece: None)
            return self._near.sendall(rpc.LENGTH.pack(1) + rpc.REPLIES[command])
        if size > MOST_PENDING:
            self._flush(far)
            far.send(head)
            return self._inbox.pass_on(size, far.send)
        payload = self._inbox.take(size)
        # No capabilities: RDMA would go past us.
        self._pending += head + (bytes(size) if command == rpc.HELLO else payload)
        expected = rpc.reply_length(command, payload)
        if expected is not None or self._inbox.is_empty or len(self._pending) > MOST_PENDING:
            self._flush(far)
        if expected is not None:
            self._reply(far, command, expected)

    def _flush(self, far: Far) -> None:
        far.send(bytes(self._pending))
        self._pending.clear()

    def _reply(self, far: Far, command: int, expected: int) -> None:
        """Pass a reply back. Its length is checked: ggml would abort on another."""
        length = memoryview(bytearray(rpc.LENGTH.size))
        far.fill(length)
        if not far.lost and rpc.LENGTH.unpack(length)[0] != expected:
            far.lose(f"it answered request {command} by {rpc.LENGTH.unpack(length)[0]} bytes of {expected}")
        told = rpc.LENGTH.pack(expected)
        if command in rpc.REPLIES:
            found = self._buffer[:expected]
            far.fill(found)
            return self._near.sendall(told + (rpc.REPLIES[command] if far.lost else bytes(found)))
        while expected or told:
            piece = self._buffer[: min(expected, len(self._buffer))]
            far.fill(piece)
            self._near.sendall(told + bytes(piece) if told else piece)
            told = b""
            expected -= len(piece)

    def _tensor(self, far: Far, head: bytes, size: int) -> None:
        """Send a tensor: weights in blocks, but for those that the worker has."""
        tensor = bytes(self._inbox.take(rpc.TENSOR_HEAD))
        size -= rpc.TENSOR_HEAD
        if not rpc.is_weight(tensor):
            self._pending += head + tensor
            if size <= MOST_PENDING:
                self._pending += self._inbox.take(size)
                return self._flush(far) if self._inbox.is_empty else None
            self._flush(far)
            return self._inbox.pass_on(size, far.send)
        if not self._block:
            self._block = memoryview(bytearray(rpc.BLOCK))
        self._pending += rpc.HEAD.pack(rpc.WEIGHTS, size + rpc.TENSOR_HEAD) + tensor
        answer = memoryview(bytearray(1))
        while size:
            block = self._block[: min(size, rpc.BLOCK)]
            self._inbox.fill(block)
            self._pending += hashlib.sha256(block).digest()
            self._flush(far)
            far.fill(answer)
            if answer != rpc.HAS:
                far.send(block)
            size -= len(block)
        return None
