"""A text being turned into a vector: the mean of the model's final hidden states, of length 1."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np
import numpy.typing as npt

from glm_gguf.engine.batch import Batch
from glm_gguf.engine.context import Context
from glm_gguf.engine.context_parameters import EMBEDDING_CHUNK
from glm_gguf.engine.kv_cache import KvCache, Prefix
from glm_gguf.engine.options import Scales
from glm_gguf.errors import EngineError, GlmGgufError

Vector = npt.NDArray[np.float32]


class Embedding:
    """The tokens of a text, how far they are computed, and the sum of their states so far."""

    def __init__(self, tokens: Sequence[int], scales: Scales) -> None:
        self._tokens = tokens
        self._scales = scales
        self.result: Future[Vector] = Future()
        self.result.set_running_or_notify_cancel()  # from here on only the engine's thread ends it
        self.cancelled = False
        self._prefix: Prefix | None = None
        self._sum: npt.NDArray[np.float64] | None = None

    def advance(self, context: Context, batch: Batch, cache: KvCache) -> bool:
        """Compute one more piece; True where the text is done, or nobody waits for it any more."""
        if self.cancelled:
            self.restart(cache)
            return True
        try:
            return self._advance(context, batch, cache)
        except GlmGgufError as error:
            self.restart(cache)
            self.fail(error)
            return True

    @property
    def begun(self) -> bool:
        """A piece of it is computed."""
        return self._sum is not None

    def piece_size(self, capacity: int) -> int:
        """Count the tokens of the next piece."""
        done = 0 if self._prefix is None else len(self._prefix.tokens)
        return min(len(self._tokens) - done, EMBEDDING_CHUNK, capacity)

    def fail(self, error: GlmGgufError) -> None:
        """Hand out an error instead of a vector."""
        self.result.set_exception(error)

    def restart(self, cache: KvCache) -> bool:
        """Give back the cells held so far; False where there are none."""
        prefix, self._prefix, self._sum = self._prefix, None, None
        if prefix is not None:
            cache.drop(prefix)
        return prefix is not None

    def _advance(self, context: Context, batch: Batch, cache: KvCache) -> bool:
        prefix = self._prefix = self._prefix or cache.take([], self._scales)
        start = len(prefix.tokens)
        piece = self._tokens[start : start + self.piece_size(batch.capacity)]
        if not cache.make_room(len(piece)):
            self.restart(cache)
            return False
        batch.clear()
        batch.add(prefix.sequence, start, piece, outputs=len(piece))
        context.use_adapters(self._scales)
        states = context.embed(batch)
        if states is None:
            cache.undo(prefix)
            context.resume()
            return False
        cache.extend(prefix, piece)
        total = states.sum(axis=0, dtype=np.float64)
        self._sum = total if self._sum is None else self._sum + total
        if len(prefix.tokens) < len(self._tokens):
            return False
        self.result.set_result(_unit(self._sum))
        self.restart(cache)
        return True


def _unit(vector: npt.NDArray[np.float64]) -> Vector:
    """Scale a vector to length 1."""
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or length == 0:
        raise EngineError("the model computed NaN or nothing", fix="verify the file")
    return (vector / length).astype(np.float32)
