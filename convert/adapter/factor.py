"""A factor of a LoRA product: a tensor of an adapter's file, read by rows as float32."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import numpy.typing as npt

from glm_gguf.convert.source.float_values import to_float32
from glm_gguf.convert.source.safetensors_file import STORAGE, StoredTensor
from glm_gguf.convert.source.shards import ShardSource

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Factor:
    """A matrix as it is stored, or its transpose."""

    shards: ShardSource
    stored: StoredTensor
    identity: str
    """Of the file, when its header was read."""
    transposed: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) as it is read."""
        rows, columns = self.stored.shape
        return (columns, rows) if self.transposed else (rows, columns)

    @property
    def where(self) -> str:
        """How an error names the file."""
        return self.stored.shard.where

    def identity_now(self) -> str:
        """The identity of the file as it lies now; raises ShardError."""
        return self.shards.identity(self.stored.shard.name)

    def transpose(self) -> Factor:
        """The same, rows for columns."""
        return replace(self, transposed=not self.transposed)

    def cut(self, start: int, stop: int) -> Factor:
        """Rows `start` to `stop` of a matrix that is read as it is stored."""
        assert not self.transposed
        row_bytes = self.stored.n_bytes // self.stored.shape[0]
        return replace(
            self,
            stored=replace(
                self.stored,
                shape=(stop - start, self.stored.shape[1]),
                offset=self.stored.offset + start * row_bytes,
                n_bytes=(stop - start) * row_bytes,
            ),
        )

    def rows(self, start: int, stop: int) -> Floats:
        """Rows `start` to `stop`, (stop - start, columns); raises ShardError."""
        if not self.transposed:
            return self._stored(start * self.stored.shape[1], (stop - start) * self.stored.shape[1]).reshape(
                stop - start, -1
            )
        n_rows, n_columns = self.stored.shape
        if stop - start == n_columns:
            return self._stored(0, prod(self.stored.shape)).reshape(n_rows, n_columns).T
        return np.stack([self._stored(row * n_columns + start, stop - start) for row in range(n_rows)], axis=1)

    def blocks(self, n_weights: int = 2**22) -> Iterator[Floats]:
        """All rows, some at a time."""
        n_rows, step = self.shape[0], max(1, n_weights // self.shape[1])
        return (self.rows(start, min(start + step, n_rows)) for start in range(0, n_rows, step))

    def is_zero(self) -> bool:
        """Read whether every weight is 0, up to the first that is not."""
        return not any(block.any() for block in self.blocks())

    def _stored(self, start: int, n_weights: int) -> Floats:
        """Weights from number `start` on, in the stored order."""
        stored, dtype = self.stored, np.dtype(STORAGE[self.stored.dtype])
        offset = stored.offset + start * dtype.itemsize
        data = self.shards.read_range(stored.shard.name, offset, n_weights * dtype.itemsize)
        return to_float32(np.frombuffer(data, dtype), stored.dtype)
