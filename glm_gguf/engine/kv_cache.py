"""Which sequence of llama.cpp's cache holds which tokens, which cells they share, and what is given up for room."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Final, Protocol

from glm_gguf.engine.cell_spans import CellSpans, Span
from glm_gguf.engine.host_cache import HostCache, HostPrefix
from glm_gguf.engine.token_trie import TokenTrie, Walk
from glm_gguf.errors import EngineError
from glm_gguf.llama.context_size import MOST_SEQUENCES
from glm_gguf.llama.engine_options import Scales

LOGGER = logging.getLogger(__name__)
MOST_RESIDENT: Final = 512
"""Cells that may hold what no answer uses, where there is main memory to keep it instead."""


class Cells(Protocol):
    """Who moves the cells: the context."""

    def copy(self, source: int, target: int, length: int, start: int = 0) -> None:
        """Let a sequence share the cells of another from `start` up to `length`."""

    def truncate(self, sequence: int, length: int) -> None:
        """Shorten a sequence to its first tokens."""

    def state(self, sequence: int) -> bytes:
        """Return the keys and values of a sequence."""

    def restore(self, sequence: int, state: bytes) -> None:
        """Give an empty sequence the keys and values that `state` returned; EngineError where that fails."""


class Prefix:
    """A sequence of the cache: its number, the tokens it holds keys and values of, and whether an answer grows it.

    Keys and values differ with the adapters they were computed with, at these scales.
    """

    __slots__ = ("last_span", "last_use", "pinned", "scales", "sequence", "tokens")

    def __init__(self, sequence: int, scales: Scales) -> None:
        self.sequence = sequence
        self.scales = scales
        self.tokens: list[int] = []
        self.last_span: Span | None = None
        self.pinned = True
        self.last_use = 0


class KvCache:
    """The books of a unified KV cache; prefixes of finished answers stay, and go to main memory for want of cells.

    They go sooner where there is main memory for them: the attention of every batch walks over all cells in use.
    """

    def __init__(self, cells: Cells, n_cells: int, n_running: int, host: HostCache) -> None:
        self._cells = cells
        self.n_cells = n_cells
        self.host = host
        self._most_resident = MOST_RESIDENT if host.most_tokens else n_cells
        # llama.cpp computes only sequences below n_seq_max, but its unified cache keeps more of them apart.
        self._free_running = list(range(n_running))
        self._free_resident = list(range(n_running, MOST_SEQUENCES))
        self._prefixes: list[Prefix] = []
        self._trie: TokenTrie[Prefix] = TokenTrie()
        self._spans = CellSpans()
        self._clock = count(1)

    @property
    def used(self) -> int:
        """Cells that hold something."""
        return self._spans.used

    @property
    def prefixes(self) -> tuple[Prefix, ...]:
        """Everything held, the running answers included."""
        return tuple(self._prefixes)

    @property
    def unpinned(self) -> list[tuple[list[int], Scales]]:
        """The tokens of all that no answer holds, in the cells or in main memory."""
        resident = [(list(prefix.tokens), prefix.scales) for prefix in self._idle()]
        return resident + [(list(prefix.tokens), prefix.scales) for prefix in self.host.prefixes]

    def longest(self, tokens: list[int], scales: Scales) -> tuple[Prefix | None, int]:
        """Find the prefix that shares most tokens, and how many."""
        walk = self._trie.walk(tokens, scales)
        return self._longest(walk.deepest, walk)

    def known(self, tokens: list[int], scales: Scales) -> int:
        """Count the tokens that need not be computed, as far as one look tells."""
        _, length = self.longest(tokens, scales)
        found = self.host.behind(tokens, length, scales)
        return length if found is None else found[1]

    def has_room(self, tokens: list[int], scales: Scales) -> bool:
        """Tell whether an answer that begins with these tokens fits beside the running ones."""
        free = self.n_cells - self._spans.pinned
        if free >= len(tokens):
            return True
        running = (prefix for prefix in self._prefixes if prefix.pinned and prefix.scales == scales)
        _, shared = self._longest(running, self._trie.walk(tokens, scales))
        return free >= len(tokens) - shared

    def pin(self, tokens: list[int], scales: Scales) -> Prefix:
        """Return a sequence for an answer that begins with these tokens, holding as many of them as are known."""
        if not self._free_running:
            raise EngineError("no sequence of the KV cache is free")
        walk = self._trie.walk(tokens, scales)
        best, length = self._longest(walk.deepest, walk)
        if best is None:
            taken = self._pin_new(scales)
        elif not best.pinned and length == len(best.tokens):
            taken = best
            self._pin_resident(best)
        else:
            taken = self._pin_shared(best, length, walk)
        self._restore_from_host(taken, tokens)
        return taken

    def make_room(self, tokens: int) -> bool:
        """Evict until so many cells are free, what was not used for longest first; False where it cannot be."""
        while self.n_cells - self.used < tokens:
            idle = self._idle()
            if not idle:
                return False
            self._evict(_stalest(idle))
        return True

    def append(self, prefix: Prefix, tokens: Sequence[int]) -> None:
        """Note that tokens were computed behind a prefix."""
        prefix.tokens += tokens
        prefix.last_span = self._spans.append(prefix.last_span, len(tokens))
        self._trie.note(prefix, prefix.tokens, prefix.scales)

    def rollback(self, prefix: Prefix) -> None:
        """Bring the cache back to what is noted, after a decode that did not go through."""
        self._cells.truncate(prefix.sequence, len(prefix.tokens))

    def truncate(self, prefix: Prefix, length: int) -> None:
        """Forget the tokens behind a length."""
        self._cells.truncate(prefix.sequence, length)
        held = len(prefix.tokens)
        prefix.last_span = self._spans.truncate(prefix.last_span, held, length, pinned=prefix.pinned)
        del prefix.tokens[length:]
        self._trie.note(prefix, prefix.tokens, prefix.scales)

    def unpin(self, prefix: Prefix) -> None:
        """Lay a prefix by that no answer grows any more, unless another holds all of it."""
        walk = self._trie.walk(prefix.tokens, prefix.scales)
        _, shared = self._longest((other for other in walk.deepest if other is not prefix), walk)
        if shared == len(prefix.tokens):
            self.drop(prefix)
            return
        if not self._free_resident:
            self._evict(_stalest(self._idle()))
        resident = self._free_resident.pop()
        self._cells.copy(prefix.sequence, resident, len(prefix.tokens))
        self._cells.truncate(prefix.sequence, 0)
        self._free_running.append(prefix.sequence)
        self._spans.unpin(prefix.last_span)
        prefix.sequence, prefix.pinned, prefix.last_use = resident, False, next(self._clock)
        while self._over_resident_limit() and (early := self._offloadable(prefix)):
            self._evict(_stalest(early))

    def drop(self, prefix: Prefix) -> None:
        """Forget a prefix."""
        self.truncate(prefix, 0)
        self._trie.forget(prefix)
        self._prefixes.remove(prefix)
        (self._free_running if prefix.pinned else self._free_resident).append(prefix.sequence)

    def clear(self) -> None:
        """Forget everything that no answer holds."""
        for prefix in self._idle():
            self.drop(prefix)
        self.host.clear()

    def _pin_new(self, scales: Scales) -> Prefix:
        """Begin a sequence that holds nothing."""
        prefix = Prefix(self._free_running.pop(), scales)
        self._prefixes.append(prefix)
        self._trie.note(prefix, prefix.tokens, scales)
        return prefix

    def _pin_resident(self, prefix: Prefix) -> None:
        """Let an answer grow a prefix that no other holds: it moves to a sequence that llama.cpp computes."""
        running = self._free_running.pop()
        self._cells.copy(prefix.sequence, running, len(prefix.tokens))
        self._cells.truncate(prefix.sequence, 0)
        self._free_resident.append(prefix.sequence)
        prefix.sequence, prefix.pinned = running, True
        self._spans.pin(prefix.last_span)

    def _pin_shared(self, best: Prefix, length: int, walk: Walk[Prefix]) -> Prefix:
        """Begin a sequence with the first tokens of another, in the same cells."""
        prefix = Prefix(self._free_running.pop(), best.scales)
        self._prefixes.append(prefix)
        self._cells.copy(best.sequence, prefix.sequence, length)
        prefix.tokens = best.tokens[:length]
        prefix.last_span = self._spans.share(best.last_span, len(best.tokens), length)
        self._trie.adopt(prefix, walk, length)
        best.last_use = next(self._clock)
        return prefix

    def _longest(self, prefixes: Iterable[Prefix], walk: Walk[Prefix]) -> tuple[Prefix | None, int]:
        """Find which of some prefixes shares most tokens with a prompt, and how many."""
        best: Prefix | None = None
        length = 0
        for prefix in prefixes:
            common = self._trie.common(prefix, prefix.tokens, walk)
            if common > length:
                best, length = prefix, common
        return best, length

    def _evict(self, prefix: Prefix) -> None:
        """Free the cells of a prefix that no answer uses; what it shares with no other goes to main memory."""
        length = len(prefix.tokens)
        exclusive, pieces = self._spans.exclusive(prefix.last_span)
        if self.host.accepts(exclusive, pieces):
            start = length - exclusive
            spare = self._free_running[-1]  # llama.cpp writes only sequences that could run
            self._cells.copy(prefix.sequence, spare, length, start)
            self.host.put(HostPrefix(prefix.tokens[:], prefix.scales, start, self._cells.state(spare)))
            self._cells.truncate(spare, 0)
        self.drop(prefix)

    def _restore_from_host(self, prefix: Prefix, tokens: list[int]) -> None:
        """Add to a sequence what main memory has of the tokens that it lacks, as far as there is room."""
        while found := self.host.behind(tokens, len(prefix.tokens), prefix.scales):
            saved, known = found
            self.host.touch(saved)
            if not self.make_room(saved.size):
                return
            spare = self._free_running[-1]
            try:
                self._cells.restore(spare, saved.state)
            except EngineError as error:
                LOGGER.warning("%s; it is computed anew", error)
                self.host.drop(saved)
                return
            start = len(prefix.tokens)
            self._cells.copy(spare, prefix.sequence, known, start)
            self._cells.truncate(spare, 0)
            self.append(prefix, tokens[start:known])

    def _idle(self) -> list[Prefix]:
        return [prefix for prefix in self._prefixes if not prefix.pinned]

    def _offloadable(self, prefix: Prefix) -> list[Prefix]:
        """List what no answer uses, and main memory takes, so that nothing is lost; what was used just now stays."""
        others = (other for other in self._idle() if other is not prefix)
        return [other for other in others if self.host.accepts(*self._spans.exclusive(other.last_span))]

    def _over_resident_limit(self) -> bool:
        """Tell whether more cells than may hold what no running answer uses."""
        return self.used - self._spans.pinned > self._most_resident


def _stalest(prefixes: Iterable[Prefix]) -> Prefix:
    """Return the prefix that was used longest ago."""
    return min(prefixes, key=lambda prefix: prefix.last_use)
