"""Between a client and ggml's server in a child process: passes messages on, and puts in the weights that it keeps."""

from __future__ import annotations

import hashlib
import socket

from glm_gguf.workers import rpc_frames as rpc
from glm_gguf.workers.block_cache import BlockCache
from glm_gguf.workers.sockets import CHUNK, pass_on, read_exactly, read_into


class WorkerRelay:
    """One connection of a client. It sends one request at a time, so one thread serves both directions."""

    def __init__(self, client: socket.socket, server: socket.socket, cache: BlockCache | None) -> None:
        self._client = client
        self._server = server
        self._cache = cache
        self._buffer = memoryview(bytearray(CHUNK))

    def run(self) -> None:
        """Pass messages on until one side ends, by EOFError or OSError."""
        while True:
            self._request()

    def _request(self) -> None:
        head = read_exactly(self._client, rpc.HEAD.size)
        command, size = rpc.HEAD.unpack(head)
        if size > rpc.MOST_BYTES:
            raise EOFError
        if command == rpc.WEIGHTS:
            return self._weights(size)
        if size + len(head) <= len(self._buffer):
            self._buffer[: len(head)] = head
            read_into(self._client, self._buffer[len(head) : len(head) + size])
            self._server.sendall(self._buffer[: len(head) + size])
        else:
            self._server.sendall(head)
            pass_on(self._client, size, self._server.sendall, self._buffer)
        if rpc.expects_reply(command):
            self._reply()

    def _reply(self) -> None:
        head = read_exactly(self._server, rpc.LENGTH.size)
        size = rpc.LENGTH.unpack(head)[0]
        if size + len(head) <= len(self._buffer):
            self._buffer[: len(head)] = head
            read_into(self._server, self._buffer[len(head) : len(head) + size])
            return self._client.sendall(self._buffer[: len(head) + size])
        self._client.sendall(head)
        pass_on(self._server, size, self._client.sendall, self._buffer)

    def _weights(self, size: int) -> None:
        """Put a tensor together from blocks of the cache and of the client."""
        head = read_exactly(self._client, min(size, rpc.TENSOR_HEAD))
        self._server.sendall(rpc.HEAD.pack(rpc.SET_TENSOR, size) + head)
        left = size - len(head)
        while left:
            length = min(left, rpc.BLOCK)
            self._server.sendall(self._block(length))
            left -= length

    def _block(self, length: int) -> bytes | memoryview:
        """Return the next block of a tensor; EOFError where the client sends another than it announced."""
        digest = read_exactly(self._client, rpc.DIGEST)
        kept = None if self._cache is None else self._cache.get(digest)
        if kept is not None and len(kept) == length:
            self._client.sendall(rpc.HAS)
            return kept
        self._client.sendall(rpc.LACKS)
        block = memoryview(bytearray(length))
        read_into(self._client, block)
        if self._cache is not None:
            if hashlib.sha256(block).digest() != digest:
                raise EOFError
            self._cache.put(digest, block)
        return block
