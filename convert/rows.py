"""Rows of one tensor, from the mapped checkpoint to the bytes of the GGUF."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glm_gguf.convert.checkpoint import map_tensor
from glm_gguf.convert.kernels import ggml
from glm_gguf.convert.kernels.quantiser import quantise
from glm_gguf.convert.plan import TensorPlan
from glm_gguf.convert.recipes import UNQUANTISED
from glm_gguf.errors import WeightError

CHUNK_WEIGHTS = 2**20  # 4 MiB as float32: large against a call's cost, small against memory

LARGEST = 65504.0 * 127 * 127
"""No block format holds more: a float16 scale, a 7-bit scale below it, a 7-bit value.
From about 1e12 on, ggml's i-quants compute infinities and abort the process."""

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
    return np.require(stored, np.float32, ("C", "ALIGNED"))  # a header of odd length leaves weights unaligned


def convert_chunk(chunk: Chunk) -> ggml.Bytes:
    """Turn a chunk to its type, (rows, row_bytes) uint8; raises WeightError naming the weight."""
    values = to_float32(chunk.mapped[chunk.start : chunk.stop])
    finite = np.isfinite(values)
    if not finite.all():
        row, column = (int(index) for index in np.argwhere(~finite)[0])
        raise _bad_weight(
            chunk, (row, column), f"is {values[row, column]}", "the checkpoint is damaged: fetch it again"
        )
    type_ = chunk.tensor.type
    if type_ in UNQUANTISED or max(values.max(), -values.min()) <= LARGEST:
        data = quantise(type_, values, chunk.tensor.importance, chunk.mapped.size)
        if ggml.valid(type_, data):
            return data
    row, column = divmod(int(np.abs(values).argmax()), values.shape[1])
    what = f"is {values[row, column]:g}, which leaves the range of {type_.name}"
    raise _bad_weight(chunk, (row, column), what, "the checkpoint is damaged, or --type F32 holds it")


def _bad_weight(chunk: Chunk, at: tuple[int, int], what: str, fix: str) -> WeightError:
    stored = chunk.tensor.source.stored
    index = (chunk.start + at[0], at[1]) if len(stored.shape) > 1 else (at[1],)
    return WeightError(f"{stored.name}[{', '.join(map(str, index))}] {what}", where=stored.path, fix=fix)
