"""Prefixes of the KV cache to saved states and back, on the engine's thread."""

from __future__ import annotations

from collections.abc import Sequence

from glm_gguf.engine.context import Context
from glm_gguf.engine.kv_cache import KvCache
from glm_gguf.engine.session_file import SavedPrefix
from glm_gguf.errors import EngineError


def saved_prefixes(cache: KvCache, context: Context, wanted: list[int] | None) -> list[SavedPrefix]:
    """Return the states of everything held, or of the tokens that are wanted, which the cache must hold."""
    if wanted is None:
        held = [list(prefix.tokens) for prefix in cache.prefixes if prefix.tokens and not prefix.held]
        return [_saved(cache, context, tokens) for tokens in held]
    _, length = cache.longest(wanted)
    if length < len(wanted):
        raise EngineError(f"only {length} of {len(wanted)} tokens are in the cache", fix="give a larger n_ctx")
    return [_saved(cache, context, wanted)]


def restore_prefixes(cache: KvCache, context: Context, prefixes: Sequence[SavedPrefix]) -> None:
    """Fill the cache with saved states, the first ones first, as far as there is room."""
    for saved in prefixes:
        _, known = cache.longest(list(saved.tokens))
        if known < len(saved.tokens) < context.size.n_ctx and cache.make_room(len(saved.tokens)):
            prefix = cache.take([])
            context.restore(prefix.sequence, saved.state)
            if context.length(prefix.sequence) != len(saved.tokens):
                cache.drop(prefix)
                raise EngineError("a saved sequence is not as long as its tokens", fix="save it again")
            cache.extend(prefix, saved.tokens)
            cache.release(prefix)


def _saved(cache: KvCache, context: Context, tokens: list[int]) -> SavedPrefix:
    """Return the state of tokens that are in the cache; llama.cpp writes it only of a sequence that can run."""
    prefix = cache.take(tokens)
    try:
        return SavedPrefix(tuple(tokens), context.state(prefix.sequence))
    finally:
        cache.release(prefix)
