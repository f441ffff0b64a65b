"""Zero rows and columns that a tensor gets on its way into the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Item = TypeVar("Item", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Padding:
    """Zero rows behind every so many rows of a matrix, and zero columns behind its columns."""

    every: int = 1
    rows: int = 0
    columns: int = 0

    def __post_init__(self) -> None:
        assert self.every > 0
        assert min(self.rows, self.columns) >= 0

    def row(self, number: int) -> int:
        """The row in the file of a stored row; of the number of stored rows, the number of rows in the file."""
        return number + self.rows * (number // self.every)

    def shape(self, stored: tuple[int, ...]) -> tuple[int, ...]:
        """The row-major shape in the file."""
        return (self.row(stored[0]), stored[1] + self.columns) if self else stored

    def around(self, rows: npt.NDArray[Item], start: int, columns: int) -> npt.NDArray[Item]:
        """Stored rows (n, items) from row `start` on as the file has them, with `columns` items more in each."""
        if not self:
            return rows
        first, stop = self.row(start), self.row(start + len(rows))
        padded = np.zeros((stop - first, rows.shape[1] + columns), rows.dtype)
        stored = np.arange(start, start + len(rows))
        padded[stored + self.rows * (stored // self.every) - first, : rows.shape[1]] = rows
        return padded

    def __bool__(self) -> bool:
        return self.rows > 0 or self.columns > 0


NONE = Padding()
