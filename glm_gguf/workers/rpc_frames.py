"""The messages of ggml's RPC as far as one who stands between both sides must know them: how long each one is.

A request is its command (1 byte), the length of what follows (8 bytes), and that. A reply is its length and that. The
client sends nothing before it has the reply (rpc_dispatcher::work of ggml-rpc.cpp).
"""

from __future__ import annotations

import struct
from types import MappingProxyType
from typing import Final

HEAD: Final = struct.Struct("<BQ")
LENGTH: Final = struct.Struct("<Q")
# enum rpc_cmd of ggml-rpc.cpp
ALLOC_BUFFER, GET_ALIGNMENT, GET_MAX_SIZE, BUFFER_GET_BASE, FREE_BUFFER, BUFFER_CLEAR = range(6)
SET_TENSOR, SET_TENSOR_HASH, GET_TENSOR, COPY_TENSOR, GRAPH_COMPUTE, GET_DEVICE_MEMORY = range(6, 12)
INIT_TENSOR, GET_ALLOC_SIZE, HELLO, DEVICE_COUNT, GRAPH_RECOMPUTE, MEMSET_TENSOR = range(12, 18)
WEIGHTS: Final = 0xF0
"""Ours: a SET_TENSOR whose data goes in blocks, each after its digest, unless the worker has it."""
TENSOR_HEAD: Final = 296 + 1 + 8
"""Of a SET_TENSOR, before the data: struct rpc_tensor, a flag of ggml's cache, and the offset."""
NAME: Final = slice(228, 292)
"""Of the tensor, in struct rpc_tensor: GGML_MAX_NAME bytes, with zeros behind."""
BLOCK: Final = 2**24
"""Bytes of a block of weights."""
DIGEST: Final = 32
HAS, LACKS = b"\1", b"\0"
MOST_BYTES: Final = 2**40
"""Of a message; more is nonsense."""

# RPC_PROTO_MAJOR_VERSION, MINOR, PATCH of ggml-rpc.h, a byte of padding, and no capabilities (RPC_CONN_CAPS_SIZE)
HELLO_REPLY: Final = bytes((7, 0, 0, 0)) + bytes(24)
REPLIES: Final = MappingProxyType(
    {
        # memory that is not there: without any, llama_decode throws where it reserves anew, which ends the process
        ALLOC_BUFFER: struct.pack("<QQ", 1, 2**62),
        GET_ALIGNMENT: LENGTH.pack(128),
        GET_MAX_SIZE: LENGTH.pack(2**63),
        BUFFER_GET_BASE: LENGTH.pack(2**20),  # ggml asserts that it is not null
        SET_TENSOR_HASH: bytes(1),
        COPY_TENSOR: bytes(1),
        GET_DEVICE_MEMORY: bytes(16),
        GET_ALLOC_SIZE: LENGTH.pack(0),  # the client takes the tensor's own size where that is more
        HELLO: HELLO_REPLY,
        DEVICE_COUNT: bytes(4),  # ggml adds no server without a device
    }
)
"""Command → the reply of a worker that is lost. Each is as long as a true one."""


def reply_length(command: int, payload: bytes | memoryview) -> int | None:
    """Return the length of the reply to a request; None where there is none."""
    if command == GET_TENSOR:  # its last field is the size
        return int(LENGTH.unpack(payload[-LENGTH.size :])[0]) if len(payload) >= LENGTH.size else 0
    return len(REPLIES[command]) if command in REPLIES else None


def is_weight(tensor_head: bytes) -> bool:
    """Tell by its name whether a tensor comes from a file: a model's weight or bias, or a LoRA adapter's factor."""
    name = tensor_head[NAME].rstrip(b"\0")
    return name.endswith((b".weight", b".bias", b".lora_a", b".lora_b"))


def expects_reply(command: int) -> bool:
    """Tell whether a request has a reply."""
    return command == GET_TENSOR or command in REPLIES
