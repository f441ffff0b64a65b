"""The header of a safetensors file, checked completely before a tensor's byte is used.

Layout (safetensors format): u64 little-endian header length N, N bytes of JSON
{name: {dtype, shape, data_offsets: [begin, end]}}, then the tensors' bytes without gaps.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import prod
from typing import Any

import numpy.typing as npt

from glm_gguf.convert.source.json_file import LFS_POINTER, parse_object, refuse_pointer, short_repr
from glm_gguf.convert.source.shards import Shard, ShardSource
from glm_gguf.errors import ShardError

MAX_HEADER_BYTES = 100_000_000  # the bound of the reference implementation
ITEM_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **{"F6_E2M3": 6, "F6_E3M2": 6, "F4": 4},
}
STORAGE: Mapping[str, npt.DTypeLike] = {"BF16": "<u2", "F16": "<f2", "F32": "<f4"}
"""dtypes of weights → numpy type of their bytes (bf16 as its bit pattern)."""
MAX_DIMENSIONS = 8  # a weight has two; the bound keeps products of sizes small
REFETCH = "the file is damaged or incomplete: fetch it again"


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor lies: `offset` and `n_bytes` within its shard, row-major `shape`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    shard: Shard
    offset: int
    n_bytes: int
    scale: Scale | None = None
    """What FP8 weights are multiplied by."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The scales of a tensor: where they lie, and the rows and columns that share one."""

    stored: StoredTensor
    block: tuple[int, int]
    grid: tuple[int, int]
    """How many scales there are over the rows and over the columns."""
    first_row: int = 0
    """Where the tensor begins in the matrix that the scales are for: a fused one is cut by rows."""


def read_header(shards: ShardSource, shard: Shard, file_bytes: int) -> dict[str, StoredTensor]:
    """Read and check the header of one of `shards`, which has `file_bytes` bytes; raises ShardError."""
    start, where = shards.peek(shard.name, 0, len(LFS_POINTER)), shard.where
    refuse_pointer(start, where, ShardError)
    if len(start) < 8:
        raise ShardError(f"{file_bytes} bytes are no safetensors file", path=where, fix=REFETCH)
    (length,) = struct.unpack_from("<Q", start)
    if length > min(MAX_HEADER_BYTES, file_bytes - 8):
        raise ShardError(f"the header claims {length} bytes, the file has {file_bytes}", path=where, fix=REFETCH)
    header = parse_object(shards.peek(shard.name, 8, length), where, ShardError)
    header.pop("__metadata__", None)
    data_start = 8 + length
    tensors = {name: _stored(name, entry, shard, data_start) for name, entry in header.items()}
    _check_extent(list(tensors.values()), data_start, file_bytes, where)
    return tensors


def _stored(name: str, entry: Any, shard: Shard, data_start: int) -> StoredTensor:
    refused = partial(ShardError, path=shard.where, where=f"tensor {name[:120]!r}")
    if not isinstance(entry, dict):
        raise refused("its entry is no JSON object", fix=REFETCH)
    dtype = entry.get("dtype")
    if not isinstance(dtype, str) or dtype not in ITEM_BITS:
        raise refused(f"unknown dtype {short_repr(dtype)}", fix="bf16, f16 or f32 is needed")
    shape, offsets = _naturals(entry, "shape", refused), _naturals(entry, "data_offsets", refused)
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise refused(f"impossible data_offsets {offsets!r}", fix=REFETCH)
    n_bytes = offsets[1] - offsets[0]
    if n_bytes * 8 != prod(shape) * ITEM_BITS[dtype]:
        raise refused(f"{n_bytes} bytes do not hold {dtype} {shape}", fix=REFETCH)
    return StoredTensor(name, dtype, tuple(shape), shard, data_start + offsets[0], n_bytes)


def _naturals(entry: dict[str, Any], key: str, refused: partial[ShardError]) -> list[int]:
    value = entry.get(key)
    if not isinstance(value, list) or len(value) > MAX_DIMENSIONS or not all(_natural(item) for item in value):
        raise refused(f"impossible {key} {short_repr(value)}", fix=REFETCH)
    return value


def _natural(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _check_extent(tensors: list[StoredTensor], data_start: int, file_bytes: int, where: str) -> None:
    """Check that the tensors fill the data exactly, without gaps and overlaps."""
    tensors.sort(key=lambda tensor: (tensor.offset, tensor.n_bytes))
    ends = [data_start, *(tensor.offset + tensor.n_bytes for tensor in tensors)]
    for end, tensor in zip(ends, tensors, strict=False):
        if tensor.offset != end:
            kind = "a gap" if tensor.offset > end else "an overlap"
            raise ShardError(f"{kind} before tensor {tensor.name[:120]!r}", path=where, fix=REFETCH)
    assert all(a <= b for a, b in pairwise(ends))
    if ends[-1] != file_bytes:
        raise ShardError(f"the tensors end at byte {ends[-1]}, the file at byte {file_bytes}", path=where, fix=REFETCH)
