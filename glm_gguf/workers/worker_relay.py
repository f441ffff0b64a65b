"""Between a client and ggml's server in a child process: passes messages on, and puts in the weights that it keeps."""

from __future__ import annotations

import hashlib
import socket
from typing import Final

from glm_gguf.workers import rpc_frames as rpc
from glm_gguf.workers.block_cache import BlockCache
from glm_gguf.workers.sockets import Inbox

MOST_PENDING: Final = 2**16
"""Bytes of requests that are sent together."""


class WorkerRelay:
    """One connection of a client. It sends one request at a time, so one thread serves both directions."""

    def __init__(self, client: socket.socket, server: socket.socket, cache: BlockCache | None) -> None:
        self._client = client
        self._server = server
        self._requests = Inbox(client)
        self._replies = Inbox(server)
        self._cache = cache

    def run(self) -> None:
        """Pass messages on until one side ends, by EOFError or OSError."""
        pending = bytearray()
        while True:
            head = bytes(self._requests.take(rpc.HEAD.size))
            command, size = rpc.HEAD.unpack(head)
            if size > rpc.MOST_BYTES:
                raise EOFError
            whole = command != rpc.WEIGHTS and size <= MOST_PENDING
            if whole:
                pending += head
                pending += self._requests.take(size)
            if not whole or rpc.expects_reply(command) or self._requests.is_empty or len(pending) > MOST_PENDING:
                self._server.sendall(pending)
                pending.clear()
            if command == rpc.WEIGHTS:
                self._weights(size)
            elif not whole:
                self._server.sendall(head)
                self._requests.pass_on(size, self._server.sendall)
            if rpc.expects_reply(command):
                self._reply()

    def _reply(self) -> None:
        head = bytes(self._replies.take(rpc.LENGTH.size))
        size = rpc.LENGTH.unpack(head)[0]
        if size <= MOST_PENDING:
            return self._client.sendall(head + self._replies.take(size))
        self._client.sendall(head)
        return self._replies.pass_on(size, self._client.sendall)

    def _weights(self, size: int) -> None:
        """Put a tensor together from blocks of the cache and of the client."""
        head = bytes(self._requests.take(min(size, rpc.TENSOR_HEAD)))
        self._server.sendall(rpc.HEAD.pack(rpc.SET_TENSOR, size) + head)
        left = size - len(head)
        while left:
            length = min(left, rpc.BLOCK)
            self._server.sendall(self._block(length))
            left -= length

    def _block(self, length: int) -> bytes | memoryview:
        """Return the next block of a tensor; EOFError where the client sends another than it announced."""
        digest = bytes(self._requests.take(rpc.DIGEST))
        kept = None if self._cache is None else self._cache.get(digest)
        if kept is not None and len(kept) == length:
            self._client.sendall(rpc.HAS)
            return kept
        self._client.sendall(rpc.LACKS)
        block = memoryview(bytearray(length))
        self._requests.fill(block)
        if self._cache is not None:
            if hashlib.sha256(block).digest() != digest:
                raise EOFError
            self._cache.put(digest, block)
        return block
