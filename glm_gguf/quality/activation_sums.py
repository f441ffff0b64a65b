"""Sums of squared activations by column of each matrix, as llama-imatrix takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from glm_gguf.errors import EngineError
from glm_gguf.llama.evaluation_callback import Node

Doubles = npt.NDArray[np.float64]
MULTIPLICATION: Final = "MUL_MAT"
OUTPUT: Final = "output.weight"
LEAST_ROWS: Final = 16
"""Tokens of a batch below which llama-imatrix takes nothing."""


@dataclass(frozen=True, slots=True)
class ColumnSums:
    """Of one matrix: squares of its input summed by column [columns], and the number of rows summed."""

    squares: Doubles
    count: int

    def plus(self, other: ColumnSums) -> ColumnSums:
        """Add what another text gave; both have the same width."""
        return ColumnSums(self.squares + other.squares, self.count + other.count)


Sums = Mapping[str, ColumnSums]
"""Name of a tensor → its sums."""


class ActivationSums:
    """Observer that sums what enters the matrices of all layers, and the output's where that is asked for."""

    def __init__(self, *, output: bool) -> None:
        self._output = output
        self.sums: dict[str, ColumnSums] = {}

    def wants(self, node: Node) -> bool:
        """Tell whether a node multiplies by a matrix that counts."""
        if node.operation != MULTIPLICATION:
            return False
        name, entering = node.source(0).name, node.source(1)
        counts = name.startswith("blk.") or (self._output and name == OUTPUT)
        return counts and entering.is_f32 and entering.shape[1] >= LEAST_ROWS

    def take(self, node: Node) -> None:
        """Add the squares of a node's input; EngineError where they are not finite."""
        name, rows = node.source(0).name, node.source(1).values()
        with np.errstate(over="ignore", invalid="ignore"):
            found = ColumnSums(np.square(rows).sum(axis=0, dtype=np.float64), rows.shape[0])
        if not np.isfinite(found.squares).all():
            fix = "verify the file: a weight may be damaged"
            raise EngineError("the model computed NaN or infinity", where=f"input of {name}", fix=fix)
        known = self.sums.get(name)
        self.sums[name] = found if known is None else known.plus(found)
