"""A text as a vector: the mean of the model's final hidden states, of length 1."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from glm_gguf.errors import EngineError
from glm_gguf.llama.batch import Batch
from glm_gguf.llama.context import Context

Vector = npt.NDArray[np.float32]


class MeanPooling:
    """The sum of a text's final hidden states so far."""

    continued = False

    def __init__(self) -> None:
        self._sum: npt.NDArray[np.float64] | None = None

    def take(self, context: Context, batch: Batch) -> bool:
        """Compute a piece and add its states; False where abort() ended the batch."""
        states = context.embed(batch)
        if states is None:
            return False
        total = states.sum(axis=0, dtype=np.float64)
        self._sum = total if self._sum is None else self._sum + total
        return True

    def forget(self) -> None:
        """Start over."""
        self._sum = None

    def value(self) -> Vector:
        """Return the direction of the mean, [n_embd] of length 1; EngineError for NaN or a mean of 0."""
        assert self._sum is not None
        length = float(np.linalg.norm(self._sum))
        if not np.isfinite(length) or length == 0:
            raise EngineError("the model's hidden states are NaN, infinite or zero", fix="verify the file")
        return (self._sum / length).astype(np.float32)
