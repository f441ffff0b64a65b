"""Whether a request waits for another's prefill, which computes the beginning of its prompt too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from glm_gguf.engine.kv_cache import KvCache
from glm_gguf.engine.running_sequence import RunningSequence
from glm_gguf.engine.token_trie import common_length

_WORTH_WAITING: Final = 32
"""Tokens of a shared prefix. To compute fewer again is faster than to wait for another sequence's prefill."""


def awaits_prefill(waiting: RunningSequence, running: Iterable[RunningSequence], cache: KvCache) -> bool:
    """Tell whether a prompt in prefill will soon add many of a waiting sequence's tokens to the cache.

    The sequence remembers that prompt: with hundreds waiting, a search in every step would take milliseconds.
    """
    if waiting.awaited is not None and _in_prefill(*waiting.awaited):
        return True
    waiting.awaited = None
    tokens = waiting.tokens[:-1]
    for sequence in running:
        if sequence.pending > 1 and sequence.scales == waiting.scales:
            common = common_length(sequence.tokens, tokens)
            if _in_prefill(sequence, common) and common >= cache.known(tokens, waiting.scales) + _WORTH_WAITING:
                waiting.awaited = sequence, common
                return True
    return False


def _in_prefill(sequence: RunningSequence, length: int) -> bool:
    """Tell whether a sequence is in prefill, and lacks many of its first `length` tokens."""
    prefix = sequence.prefix
    return prefix is not None and sequence.pending > 1 and length >= len(prefix.tokens) + _WORTH_WAITING
