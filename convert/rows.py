"""Rows of one tensor, from the mapped checkpoint to the bytes of the GGUF."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glm_gguf.convert.checkpoint import map_tensor
from glm_gguf.convert.kernels import ggml
from glm_gguf.convert.plan import TensorPlan
from glm_gguf.errors import WeightError

CHUNK_WEIGHTS = 2**20  # 4 MiB as float32: large against a call's cost, small against memory

Stored = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows `start` to `stop` of a tensor, the unit of work of one thread."""

    tensor: TensorPlan
    mapped: Stored
    """(rows, columns); a vector is one row."""
    start: int
    stop: int


def chunks(tensor: TensorPlan) -> Iterator[Chunk]:
    """Cut a tensor into chunks of whole rows, about CHUNK_WEIGHTS weights each."""
    stored = map_tensor(tensor.source.stored)
    mapped = stored.reshape(-1, stored.shape[-1])
    n_rows, n_columns = mapped.shape
    step = max(1, CHUNK_WEIGHTS // n_columns)
    for start in range(0, n_rows, step):
        yield Chunk(tensor, mapped, start, min(start + step, n_rows))


def to_float32(stored: Stored) -> ggml.Floats:
    """float32 values of stored weights; bf16 comes as uint16 bit patterns, the upper half of a float32."""
    if stored.dtype == np.uint16:
        return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return np.ascontiguousarray(stored, np.float32)


def convert_chunk(chunk: Chunk) -> ggml.Bytes:
    """Turn a chunk to its type, (rows, row_bytes) uint8; raises WeightError naming the weight."""
    values = to_float32(chunk.mapped[chunk.start : chunk.stop])
    finite = np.isfinite(values)
    if not finite.all():
        row, column = (int(index) for index in np.argwhere(~finite)[0])
        raise _bad_weight(chunk, f"is {values[row, column]}", row, column)
    data = ggml.quantise(chunk.tensor.type, values, chunk.tensor.importance)
    if not ggml.valid(chunk.tensor.type, data):
        row, column = divmod(int(np.abs(values).argmax()), values.shape[1])
        raise _bad_weight(chunk, f"{values[row, column]:g} leaves the range of {chunk.tensor.type.name}", row, column)
    return data


def _bad_weight(chunk: Chunk, what: str, row: int, column: int) -> WeightError:
    stored = chunk.tensor.source.stored
    index = (chunk.start + row, column) if len(stored.shape) > 1 else (column,)
    return WeightError(
        f"{stored.name}[{', '.join(map(str, index))}] {what}",
        where=stored.path,
        fix="the checkpoint is damaged, or --type BF16 keeps it as it is",
    )
