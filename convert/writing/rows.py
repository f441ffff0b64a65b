"""Rows of one tensor, from the shard's bytes to the bytes of each GGUF that holds them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from glm_gguf.convert.adapter.low_rank import added
from glm_gguf.convert.kernels import ggml
from glm_gguf.convert.kernels.quantiser import quantise
from glm_gguf.convert.plan import TensorPlan
from glm_gguf.convert.recipe.file_types import LARGEST, UNQUANTISED
from glm_gguf.convert.source.float_values import Stored, weights
from glm_gguf.convert.source.padding import Padding
from glm_gguf.convert.source.safetensors_file import STORAGE
from glm_gguf.convert.source.shards import ShardReader
from glm_gguf.convert.writing.work import Job, Placement
from glm_gguf.errors import WeightError

CHUNK_WEIGHTS = 2**20  # 4 MiB as float32: a call's overhead is small beside it, and it is small beside the memory


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows of a tensor from row `start` on; one thread converts them."""

    job: Job
    start: int
    rows: Stored
    """(rows, columns) as stored; a vector is one row."""
    last: bool
    """Whether it is the tensor's last chunk."""
    scales: ggml.Floats | None = None
    """What FP8 weights are multiplied by, all of the tensor's."""


def chunks(job: Job, reader: ShardReader, scales: ggml.Floats | None) -> Iterator[Chunk]:
    """Read a tensor in chunks of whole rows; one of FP8 has all its `scales`."""
    stored = job.stored
    n_rows = prod(stored.shape[:-1])
    row_bytes = stored.n_bytes // n_rows
    for start, stop in row_ranges(stored.shape):
        data = reader.read(stored.offset + start * row_bytes, (stop - start) * row_bytes)
        rows = data.view(STORAGE.get(stored.dtype, np.uint8)).reshape(stop - start, -1)
        yield Chunk(job, start, rows, stop == n_rows, scales)


def row_ranges(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """The row ranges (start, stop) of a tensor's chunks, of about CHUNK_WEIGHTS weights each."""
    n_rows, step = prod(shape[:-1]), max(1, CHUNK_WEIGHTS // shape[-1])
    return ((start, min(start + step, n_rows)) for start in range(0, n_rows, step))


def convert_chunk(chunk: Chunk) -> Iterator[tuple[Placement, ggml.Bytes]]:
    """Convert a chunk to the type of each placement, (rows, row_bytes) uint8; raises WeightError naming the weight."""
    values = added(weights(chunk.rows, chunk.job.stored, chunk.start, chunk.scales), chunk.job.updates, chunk.start)
    finite = np.isfinite(values)
    if not finite.all():
        row, column = (int(index) for index in np.argwhere(~finite)[0])
        fix = "the checkpoint is damaged: fetch it again"
        if chunk.job.updates:
            fix += "; or an adapter's weights are too large"
        raise _bad_weight(chunk, (row, column), f"is {values[row, column]}", fix)
    made: dict[tuple[int, int, Padding], ggml.Bytes] = {}
    for placement in chunk.job.placements:
        key = (placement.tensor.type, id(placement.tensor.importance), placement.tensor.source.padding)
        if key not in made:
            made[key] = _quantised(chunk, values, placement.tensor)
        yield placement, made[key]


def _quantised(chunk: Chunk, values: ggml.Floats, tensor: TensorPlan) -> ggml.Bytes:
    padding = tensor.source.padding
    if tensor.copied:  # bytes of zero are zeros of every type
        data = chunk.rows.view(np.uint8).reshape(len(values), -1)
        return padding.around(data, chunk.start, ggml.row_bytes(tensor.type, padding.columns))
    if tensor.type in UNQUANTISED or max(values.max(), -values.min()) <= LARGEST:
        rows = padding.around(values, chunk.start, padding.columns)
        data = quantise(tensor.type, rows, tensor.importance, prod(tensor.shape))
        if ggml.valid(tensor.type, data):
            return data
    row, column = divmod(int(np.abs(values).argmax()), values.shape[1])
    what = f"is {values[row, column]:g}, which is outside the range of {tensor.type.name}"
    cause = "an adapter's weights are too large" if chunk.job.updates else "the checkpoint is damaged"
    raise _bad_weight(chunk, (row, column), what, f'{cause}, or type="F32" holds it')


def _bad_weight(chunk: Chunk, at: tuple[int, int], what: str, fix: str) -> WeightError:
    stored = chunk.job.stored
    index = (chunk.start + at[0], at[1]) if len(stored.shape) > 1 else (at[1],)
    return WeightError(f"{stored.name}[{', '.join(map(str, index))}] {what}", path=stored.shard.where, fix=fix)
