"""A text to embed or score: a prefill without an answer, piece by piece beside the answers, each piece a batch."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Generic, Protocol, TypeVar

from glm_gguf.engine.kv_cache import KvCache, Prefix
from glm_gguf.errors import GlmGgufError, as_engine_error
from glm_gguf.llama.batch import Batch
from glm_gguf.llama.batch_sizes import OUTPUT_CHUNK
from glm_gguf.llama.context import Context
from glm_gguf.llama.engine_options import Scales

T = TypeVar("T", covariant=True)
S = TypeVar("S")


class Accumulator(Protocol[T]):
    """What a job gathers while its text is computed."""

    continued: bool
    """The text's prefix stays in the cache: an answer may follow it."""

    def take(self, context: Context, batch: Batch) -> bool:
        """Compute the next piece and gather from it; False where abort() ended the batch."""

    def forget(self) -> None:
        """Start over."""

    def value(self) -> T:
        """Return the result, when the whole text is computed."""


class PromptJob(Generic[S]):
    """The tokens of a text, its prefix so far, and what is gathered from it. Any thread may set `cancelled`."""

    def __init__(self, tokens: Sequence[int], scales: Scales, accumulator: Accumulator[S]) -> None:
        self._tokens = tokens
        self._scales = scales
        self._accumulator = accumulator
        self.result: Future[S] = Future()
        self.result.set_running_or_notify_cancel()  # from here on only the engine's thread ends it
        self.cancelled = False
        self._prefix: Prefix | None = None

    def advance(self, context: Context, batch: Batch, cache: KvCache) -> bool:
        """Compute one more piece; True where the job is done, failed or cancelled."""
        if self.cancelled:
            self.restart(cache)
            return True
        try:
            return self._advance(context, batch, cache)
        except Exception as error:  # it ends this job alone
            self.restart(cache)
            self.fail(as_engine_error(error))
            return True

    @property
    def begun(self) -> bool:
        """A piece of the text is computed."""
        return self._done > 0

    @property
    def _done(self) -> int:
        return 0 if self._prefix is None else len(self._prefix.tokens)

    def piece_size(self, capacity: int) -> int:
        """Count the tokens of the next piece."""
        return min(len(self._tokens) - self._done, OUTPUT_CHUNK, capacity)

    def fail(self, error: GlmGgufError) -> None:
        """End the job with an error, unless its result is set."""
        if not self.result.done():
            self.result.set_exception(error)

    def restart(self, cache: KvCache) -> bool:
        """Start over, and free the cells so far; False where there are none."""
        prefix, self._prefix = self._prefix, None
        self._accumulator.forget()
        if prefix is not None:
            cache.drop(prefix)
        return prefix is not None

    def _advance(self, context: Context, batch: Batch, cache: KvCache) -> bool:
        prefix = self._prefix = self._prefix or cache.pin([], self._scales)
        start = len(prefix.tokens)
        piece = self._tokens[start : start + self.piece_size(batch.capacity)]
        if not cache.make_room(len(piece)):
            self.restart(cache)
            return False
        batch.clear()
        batch.add(prefix.sequence, start, piece, outputs=len(piece))
        context.use_adapters(self._scales)
        if not self._accumulator.take(context, batch):
            cache.rollback(prefix)
            return False
        cache.append(prefix, piece)
        if len(prefix.tokens) < len(self._tokens):
            return False
        self.result.set_result(self._accumulator.value())
        if self._accumulator.continued:
            self._prefix = None
            cache.unpin(prefix)
        else:
            self.restart(cache)
        return True
