"""The error that a type makes in a tensor, measured on some of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from gguf import GGMLQuantizationType as Type

from glm_gguf.convert.adapter.low_rank import added
from glm_gguf.convert.kernels import ggml
from glm_gguf.convert.kernels.ggml import Floats
from glm_gguf.convert.kernels.quantiser import quantise
from glm_gguf.convert.recipe.file_types import LARGEST, divides
from glm_gguf.convert.source.float_values import weights
from glm_gguf.convert.source.fp8 import read_scales
from glm_gguf.convert.source.safetensors_file import STORAGE
from glm_gguf.convert.source.shards import ShardSource
from glm_gguf.convert.source.tensor_names import SourceTensor
from glm_gguf.errors import WeightError

SAMPLE_WEIGHTS = 2**17
"""Weights of a tensor that are measured: 32 rows of 4096."""
RUNS = 4
"""Runs of neighbouring rows among them, at equal distances: from a hub each is a request."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows of a tensor, and the importance (columns,) of its columns."""

    rows: Floats
    importance: Floats | None
    n_weights: int
    """Of the whole tensor."""

    @classmethod
    def read(cls, tensor: SourceTensor, shards: ShardSource, importance: Floats | None) -> Sample:
        """Read some rows, with what adapters add; raises ShardError, TransferError."""
        stored, scales = tensor.stored, read_scales(tensor.stored, shards)
        dtype, found = np.dtype(STORAGE.get(stored.dtype, np.uint8)), []
        row_bytes = stored.n_bytes // stored.shape[0]
        for start, stop in sampled_rows(stored.shape):
            n_bytes = (stop - start) * row_bytes
            data = shards.read_range(stored.shard.name, stored.offset + start * row_bytes, n_bytes)
            rows = np.frombuffer(data, dtype).reshape(stop - start, -1)
            found.append(added(weights(rows, stored, start, scales), tensor.updates, start))
        sampled = np.concatenate(found)
        if not (np.abs(sampled) <= LARGEST).all():
            what = f"{stored.name} holds NaN, an infinity or a weight that no quantised type holds"
            raise WeightError(what, path=stored.shard.where, fix="the checkpoint is damaged: fetch it again")
        return cls(sampled, importance, prod(tensor.shape))

    def errors(self, types: Sequence[Type], zeros: int) -> dict[Type, float]:
        """Type → squared error over the sum of squares, each column weighted by its importance.

        A type whose blocks need them gets columns of `zeros` behind the others.
        """
        power = self._weighted(np.square(self.rows, dtype=np.float64))
        return {type_: self._error(type_, zeros) / power if power > 0 else 0.0 for type_ in types}

    def _error(self, type_: Type, zeros: int) -> float:
        columns = self.rows.shape[1]
        rows, importance = self.rows, self.importance
        if not divides(type_, columns):
            rows = np.pad(rows, ((0, 0), (0, zeros)))
            importance = None if importance is None else np.pad(importance, (0, zeros))
        made = ggml.dequantise(type_, quantise(type_, rows, importance, self.n_weights))
        return self._weighted(np.square((made[:, :columns] - self.rows).astype(np.float64)))

    def _weighted(self, squares: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
        by_column = squares.sum(axis=0)
        important = self.importance is not None and self.importance.any()
        return float(by_column @ self.importance if important else by_column.sum())


def sampled_rows(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Ranges (start, stop) of the rows that are measured; all of a small tensor."""
    n_rows = shape[0]
    wanted = max(RUNS, SAMPLE_WEIGHTS // shape[1])
    if n_rows <= wanted:
        yield 0, n_rows
        return
    length = wanted // RUNS
    for run in range(RUNS):
        start = run * (n_rows - length) // (RUNS - 1)
        yield start, start + length
