"""Sessions: the KV cache restored from a file, computed again where the file does not fit, and saved to it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from glm_gguf.engine.engine import Engine
from glm_gguf.engine.kv_cache import KvCache
from glm_gguf.errors import EngineError, GlmGgufError, WorkerLostError
from glm_gguf.llama.context import Context
from glm_gguf.llama.engine_options import Scales
from glm_gguf.llama.session_file import SavedPrefix, Session, read_session, write_session

LOGGER = logging.getLogger(__name__)
Tokens = Sequence[int]


@dataclass(frozen=True, slots=True)
class Sessions:
    """An engine, and the hashes that bind a session to its model; `compute` runs the prefill of tokens."""

    engine: Engine
    fingerprint: str
    vocabulary: str
    scales: Scales
    """Of the adapters that computed the saved states: the defaults of the model."""
    compute: Callable[[Tokens], None]

    def load(self, path: Path) -> EngineError | None:
        """Fill the cache from a file, if there is one; returns why the file is refused, or None.

        A session of another model or of other settings is computed again and saved again, if its tokens mean the
        same here.
        """
        try:
            path.stat()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            LOGGER.debug("%s", error)  # `read_session` says why it cannot be read
        try:
            session = read_session(path)
            if session.fingerprint != self.fingerprint:
                return self._rebuilt(path, session)
            refused = self.restore(session.prefixes)
        except EngineError as error:
            refused = error
        if refused is not None:
            LOGGER.warning("%s", refused)
        return refused

    def save(self, path: Path, tokens: Sequence[Tokens] | None) -> None:
        """Save the states of token lists, after their prefill where needed; None saves all unpinned prefixes."""
        for wanted in tokens or ():
            self.compute(wanted)
        prefixes = self.engine.call(lambda scheduler, context: self._saved(scheduler.cache, context, tokens))
        write_session(path, Session(self.fingerprint, self.vocabulary, tuple(prefixes)))

    @property
    def capacity(self) -> int:
        """Tokens that the KV cache and main memory hold."""
        return self.engine.call(lambda scheduler, _: scheduler.cache.n_cells + scheduler.cache.host.most_tokens)

    def unpinned(self) -> list[Tokens]:
        """Return the tokens of all unpinned prefixes, the least recently used first."""
        found = self.engine.call(lambda scheduler, _: scheduler.cache.unpinned)
        return [tokens for tokens, scales in found if tokens and scales == self.scales]

    def state_of(self, tokens: Tokens) -> SavedPrefix:
        """Return the state of tokens as far as they are in the cache."""
        return self.engine.call(lambda scheduler, context: self._state(scheduler.cache, context, tokens))

    def restore(self, prefixes: Sequence[SavedPrefix]) -> EngineError | None:
        """Fill the cache with states in order; returns why llama.cpp refuses one. EngineError for a closed engine."""
        return self.engine.call(lambda scheduler, context: self._restore(scheduler.cache, context, prefixes))

    def _rebuilt(self, path: Path, session: Session) -> EngineError:
        """Compute a session again if its tokens mean the same here; returns why the file was refused."""
        refused = EngineError("the session belongs to another model or other settings", path=path)
        if session.vocabulary != self.vocabulary:
            return EngineError(refused.what, path=path, fix="its vocabulary is another one: save it again")
        LOGGER.warning("%s; it is computed again", refused)
        try:
            self.save(path, [prefix.tokens for prefix in session.prefixes])
        except GlmGgufError as error:
            return EngineError(f"{refused.what}, and could not be computed again: {error}", path=path)
        return EngineError(refused.what, path=path, fix="it was computed again and saved")

    def _saved(self, cache: KvCache, context: Context, wanted: Sequence[Tokens] | None) -> list[SavedPrefix]:
        """Return the states of token lists, or with None of all unpinned prefixes that the cache holds whole."""
        if wanted is None:
            unpinned = [tokens for tokens, scales in cache.unpinned if tokens and scales == self.scales]
            saved = [(self._state(cache, context, tokens), len(tokens)) for tokens in unpinned]
            return [prefix for prefix, length in saved if len(prefix.tokens) == length]
        return [self._whole_state(cache, context, list(tokens)) for tokens in wanted]

    def _whole_state(self, cache: KvCache, context: Context, tokens: list[int]) -> SavedPrefix:
        """Return the state of tokens; EngineError unless all are in the cache."""
        saved = self._state(cache, context, tokens)
        if (length := len(saved.tokens)) < len(tokens):
            raise EngineError(f"only {length} of {len(tokens)} tokens are in the cache", fix="give a larger n_ctx")
        return saved

    def _state(self, cache: KvCache, context: Context, tokens: Tokens) -> SavedPrefix:
        """Return the state of the cached tokens; it pins them, for llama.cpp writes only sequences that may run."""
        prefix = cache.pin(list(tokens), self.scales)
        try:
            return SavedPrefix(tuple(prefix.tokens), context.state(prefix.sequence))
        finally:
            cache.unpin(prefix)

    def _restore(self, cache: KvCache, context: Context, prefixes: Sequence[SavedPrefix]) -> EngineError | None:
        """Fill the cache with saved states in order, as far as there are cells; return why one is refused."""
        for saved in prefixes:
            known = cache.known(list(saved.tokens), self.scales)
            if known < len(saved.tokens) < context.plan.size.n_ctx and cache.make_room(len(saved.tokens)):
                prefix = cache.pin([], self.scales)
                try:
                    context.restore(prefix.sequence, saved.state)
                    if context.length(prefix.sequence) != len(saved.tokens):
                        raise EngineError("a saved sequence is not as long as its tokens", fix="save it again")
                except WorkerLostError:
                    raise
                except EngineError as error:
                    cache.drop(prefix)
                    return error
                cache.append(prefix, saved.tokens)
                cache.unpin(prefix)
        return None
