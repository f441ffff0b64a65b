"""A text that is read for what the model makes of it, beside the answers: piece by piece, each a batch of its own."""

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
    """What is gathered of a text while it is read."""

    continued: bool
    """An answer is to follow behind the text: what was computed of it is kept in the cache."""

    def take(self, context: Context, batch: Batch) -> bool:
        """Compute the next piece and gather from it; False where abort() came between."""

    def forget(self) -> None:
        """Begin anew."""

    def value(self) -> T:
        """Return what was found, when all is read."""


class PromptJob(Generic[S]):
    """The tokens of a text, how far they are computed, and what is found in them."""

    def __init__(self, tokens: Sequence[int], scales: Scales, findings: Accumulator[S]) -> None:
        self._tokens = tokens
        self._scales = scales
        self._findings = findings
        self.result: Future[S] = Future()
        self.result.set_running_or_notify_cancel()  # from here on only the engine's thread ends it
        self.cancelled = False
        self._prefix: Prefix | None = None

    def advance(self, context: Context, batch: Batch, cache: KvCache) -> bool:
        """Compute one more piece; True where the text is done, or nobody waits for it any more."""
        if self.cancelled:
            self.restart(cache)
            return True
        try:
            return self._advance(context, batch, cache)
        except Exception as error:  # it ends this text alone
            self.restart(cache)
            self.fail(as_engine_error(error))
            return True

    @property
    def begun(self) -> bool:
        """A piece of it is computed."""
        return self._done > 0

    @property
    def _done(self) -> int:
        return 0 if self._prefix is None else len(self._prefix.tokens)

    def piece_size(self, capacity: int) -> int:
        """Count the tokens of the next piece."""
        return min(len(self._tokens) - self._done, OUTPUT_CHUNK, capacity)

    def fail(self, error: GlmGgufError) -> None:
        """Hand out an error instead of what was to be found, unless that is handed out already."""
        if not self.result.done():
            self.result.set_exception(error)

    def restart(self, cache: KvCache) -> bool:
        """Give back the cells held so far; False where there are none."""
        prefix, self._prefix = self._prefix, None
        self._findings.forget()
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
        if not self._findings.take(context, batch):
            cache.rollback(prefix)
            return False
        cache.append(prefix, piece)
        if len(prefix.tokens) < len(self._tokens):
            return False
        self.result.set_result(self._findings.value())
        if self._findings.continued:
            self._prefix = None
            cache.unpin(prefix)
        else:
            self.restart(cache)
        return True
