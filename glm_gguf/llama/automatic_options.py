"""What EngineOptions leave open, decided by what holds: the context, the types of the KV cache, the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from glm_gguf.llama.batch_sizes import SHARED_BATCH
from glm_gguf.llama.engine_options import DEFAULT_CONTEXT, CacheType, EngineOptions

STEP: Final = 256  # llama.cpp rounds a context up to it
LEAST_CONTEXT: Final = 1024
"""Tokens: a shorter context is no use in a conversation with tools."""
Holds = Callable[[EngineOptions], bool]


def automatic_options(options: EngineOptions, known: int, holds: Holds) -> EngineOptions | None:
    """Decide what is open, so that it `holds`; None where nothing does.

    A small batch comes before a shorter context. Keys and values become q8_0 only for the first DEFAULT_CONTEXT tokens.
    """
    most = options.n_ctx or known
    first, *others = _candidates(options)
    if holds(replace(first, n_ctx=most)):
        return replace(first, n_ctx=most)
    wanted, least = (options.n_ctx or min(known, length) for length in (DEFAULT_CONTEXT, LEAST_CONTEXT))
    for candidate in others:
        if holds(replace(candidate, n_ctx=wanted)):
            return replace(candidate, n_ctx=longest_context(candidate, wanted, most, holds))
    if holds(replace(others[-1], n_ctx=least)):
        return replace(others[-1], n_ctx=longest_context(others[-1], least, wanted, holds))
    return None


def smallest_options(options: EngineOptions) -> EngineOptions:
    """Decide what is open so that it takes the least memory, but for the context."""
    return _candidates(options)[-1]


def longest_context(options: EngineOptions, holding: int, most: int, holds: Holds) -> int:
    """Return the longest context up to `most` that holds, in steps; one of `holding` tokens does."""
    if holds(replace(options, n_ctx=most)):
        return most
    low, high = holding // STEP, -(-most // STEP)
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(replace(options, n_ctx=middle * STEP)) else (low, middle)
    return max(holding, low * STEP)


def _candidates(options: EngineOptions) -> tuple[EngineOptions, ...]:
    """Return the options with types and batch decided, the best for speed and closeness to the model first."""
    small = options if options.n_batch is not None else replace(options, n_batch=SHARED_BATCH)
    whole = _with_types(options, CacheType.F16), _with_types(small, CacheType.F16)
    return whole if options.flash_attention is False else (*whole, _with_types(small, CacheType.Q8_0))


def _with_types(options: EngineOptions, kind: CacheType) -> EngineOptions:
    return replace(options, cache_type_k=options.cache_type_k or kind, cache_type_v=options.cache_type_v or kind)
