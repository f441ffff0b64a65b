"""The KV cache: which sequence holds which tokens, which cells they share, and which prefix is evicted for cells."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Protocol

from glm_gguf.engine.cell_spans import CellSpans, Span
from glm_gguf.engine.host_cache import HostCache, HostPrefix
from glm_gguf.engine.token_trie import TokenTrie, Walk
from glm_gguf.errors import EngineError
from glm_gguf.llama.context_size import MOST_SEQUENCES
from glm_gguf.llama.engine_options import Scales

LOGGER = logging.getLogger(__name__)


class Cells(Protocol):
    """The context, which moves llama.cpp's cells."""

    def copy(self, source: int, target: int, length: int, start: int = 0) -> None:
        """Let a sequence share the cells of another from `start` up to `length`."""

    def truncate(self, sequence: int, length: int) -> None:
        """Shorten a sequence to its first tokens."""

    def state(self, sequence: int) -> bytes:
        """Return the keys and values of a sequence."""

    def restore(self, sequence: int, state: bytes) -> None:
        """Give an empty sequence the keys and values that `state` returned; EngineError where that fails."""


class Prefix:
    """A sequence of the cache: its number, the tokens in its cells, and whether a running sequence has it pinned.

    Keys and values depend on the adapters that computed them, at these scales.
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
    """The prefixes in a unified KV cache.

    A running sequence pins its prefix. An unpinned prefix is resident: it keeps its cells until it is pinned again or
    evicted. Eviction offloads it to main memory if that accepts it, and `pin` restores it from there. With main memory
    at hand prefixes are evicted before cells run out: the attention of every batch walks over all used cells.
    """

    def __init__(self, cells: Cells, n_cells: int, n_running: int, host: HostCache) -> None:
        self._cells = cells
        self.n_cells = n_cells
        self.host = host
        self._most_resident = host.most_resident(n_cells)
        # llama.cpp computes only sequences below n_seq_max, but its unified cache tells more of them apart.
        self._free_running = list(range(n_running))
        self._free_resident = list(range(n_running, MOST_SEQUENCES))
        self._prefixes: list[Prefix] = []
        self._trie: TokenTrie[Prefix] = TokenTrie()
        self._spans = CellSpans()
        self._clock = count(1)

    @property
    def used(self) -> int:
        """Cells that hold a token."""
        return self._spans.used

    @property
    def prefixes(self) -> tuple[Prefix, ...]:
        """All prefixes in the cells, pinned and resident."""
        return tuple(self._prefixes)

    @property
    def unpinned(self) -> list[tuple[list[int], Scales]]:
        """Tokens and scales of all unpinned prefixes, the least recently used first: those in main memory are older."""
        resident = sorted(self._resident(), key=lambda prefix: prefix.last_use)
        offloaded = [(list(prefix.tokens), prefix.scales) for prefix in self.host.prefixes]
        return offloaded + [(list(prefix.tokens), prefix.scales) for prefix in resident]

    def longest(self, tokens: list[int], scales: Scales) -> tuple[Prefix | None, int]:
        """Find the prefix that shares most of these tokens, and count them."""
        walk = self._trie.walk(tokens, scales)
        return self._longest(walk.deepest, walk)

    def known(self, tokens: list[int], scales: Scales) -> int:
        """Count the tokens that need no prefill, by one look-up in the cells and one in main memory."""
        _, length = self.longest(tokens, scales)
        found = self.host.longest_after(tokens, length, scales)
        return length if found is None else found[1]

    def has_room(self, tokens: list[int], scales: Scales) -> bool:
        """Tell whether a sequence of these tokens fits beside the pinned ones."""
        free = self.n_cells - self._spans.pinned
        if free >= len(tokens):
            return True
        running = (prefix for prefix in self._prefixes if prefix.pinned and prefix.scales == scales)
        _, shared = self._longest(running, self._trie.walk(tokens, scales))
        return free >= len(tokens) - shared

    def pin(self, tokens: list[int], scales: Scales) -> Prefix:
        """Pin a prefix of these tokens that holds all known ones; EngineError where no sequence is free."""
        if not self._free_running:
            raise EngineError("no sequence of the KV cache is free")
        walk = self._trie.walk(tokens, scales)
        best, length = self._longest(walk.deepest, walk)
        if best is None:
            pinned = self._pin_new(scales)
        elif not best.pinned and length == len(best.tokens):
            pinned = best
            self._pin_resident(best)
        else:
            pinned = self._pin_shared(best, length, walk)
        self._restore_from_host(pinned, tokens)
        return pinned

    def make_room(self, tokens: int) -> bool:
        """Evict until so many cells are free, the least recently used first; False where pinned ones leave too few."""
        while self.n_cells - self.used < tokens:
            resident = self._resident()
            if not resident:
                return False
            self._evict(_least_recent(resident))
        return True

    def append(self, prefix: Prefix, tokens: Sequence[int]) -> None:
        """Note that tokens were computed after a prefix."""
        prefix.tokens += tokens
        prefix.last_span = self._spans.append(prefix.last_span, len(tokens))
        self._trie.note(prefix, prefix.tokens, prefix.scales)

    def rollback(self, prefix: Prefix) -> None:
        """Remove the cells of an aborted decode, whose tokens were not appended."""
        self._cells.truncate(prefix.sequence, len(prefix.tokens))

    def truncate(self, prefix: Prefix, length: int) -> None:
        """Shorten a prefix to its first `length` tokens."""
        self._cells.truncate(prefix.sequence, length)
        held = len(prefix.tokens)
        prefix.last_span = self._spans.truncate(prefix.last_span, held, length, pinned=prefix.pinned)
        del prefix.tokens[length:]
        self._trie.note(prefix, prefix.tokens, prefix.scales)

    def unpin(self, prefix: Prefix) -> None:
        """Make a pinned prefix resident, or drop it where another holds all of its tokens; may evict others for it."""
        walk = self._trie.walk(prefix.tokens, prefix.scales)
        _, shared = self._longest((other for other in walk.deepest if other is not prefix), walk)
        if shared == len(prefix.tokens):
            self.drop(prefix)
            return
        if not self._free_resident:
            self._evict(_least_recent(self._resident()))
        resident = self._free_resident.pop()
        self._cells.copy(prefix.sequence, resident, len(prefix.tokens))
        self._cells.truncate(prefix.sequence, 0)
        self._free_running.append(prefix.sequence)
        self._spans.unpin(prefix.last_span)
        prefix.sequence, prefix.pinned, prefix.last_use = resident, False, next(self._clock)
        while self._over_resident_limit() and (others := self._offloadable(prefix)):
            self._evict(_least_recent(others))

    def drop(self, prefix: Prefix) -> None:
        """Remove a prefix."""
        self.truncate(prefix, 0)
        self._trie.forget(prefix)
        self._prefixes.remove(prefix)
        (self._free_running if prefix.pinned else self._free_resident).append(prefix.sequence)

    def clear(self) -> None:
        """Remove all unpinned prefixes, from the cells and from main memory."""
        for prefix in self._resident():
            self.drop(prefix)
        self.host.clear()

    def _pin_new(self, scales: Scales) -> Prefix:
        """Pin an empty prefix."""
        prefix = Prefix(self._free_running.pop(), scales)
        self._prefixes.append(prefix)
        self._trie.note(prefix, prefix.tokens, scales)
        return prefix

    def _pin_resident(self, prefix: Prefix) -> None:
        """Pin a resident prefix: it moves to a sequence that llama.cpp computes."""
        running = self._free_running.pop()
        self._cells.copy(prefix.sequence, running, len(prefix.tokens))
        self._cells.truncate(prefix.sequence, 0)
        self._free_resident.append(prefix.sequence)
        prefix.sequence, prefix.pinned = running, True
        self._spans.pin(prefix.last_span)

    def _pin_shared(self, best: Prefix, length: int, walk: Walk[Prefix]) -> Prefix:
        """Pin a new prefix that shares the cells of another's first `length` tokens."""
        prefix = Prefix(self._free_running.pop(), best.scales)
        self._prefixes.append(prefix)
        self._cells.copy(best.sequence, prefix.sequence, length)
        prefix.tokens = best.tokens[:length]
        prefix.last_span = self._spans.share(best.last_span, len(best.tokens), length)
        self._trie.adopt(prefix, walk, length)
        best.last_use = next(self._clock)
        return prefix

    def _longest(self, prefixes: Iterable[Prefix], walk: Walk[Prefix]) -> tuple[Prefix | None, int]:
        """Find which of these prefixes shares most tokens with a prompt, and count them."""
        best: Prefix | None = None
        length = 0
        for prefix in prefixes:
            common = self._trie.common(prefix, prefix.tokens, walk)
            if common > length:
                best, length = prefix, common
        return best, length

    def _evict(self, prefix: Prefix) -> None:
        """Free the cells of a resident prefix; main memory gets the state of those that it shares with no other."""
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
        """Append to a prefix the tokens that main memory knows, as far as there are cells."""
        while found := self.host.longest_after(tokens, len(prefix.tokens), prefix.scales):
            saved, known = found
            self.host.touch(saved)
            if not self.make_room(saved.size):
                return
            spare = self._free_running[-1]
            try:
                self._cells.restore(spare, saved.state)
            except EngineError as error:
                LOGGER.warning("%s; it is computed again", error)
                self.host.drop(saved)
                return
            start = len(prefix.tokens)
            self._cells.copy(spare, prefix.sequence, known, start)
            self._cells.truncate(spare, 0)
            self.append(prefix, tokens[start:known])

    def _resident(self) -> list[Prefix]:
        return [prefix for prefix in self._prefixes if not prefix.pinned]

    def _offloadable(self, prefix: Prefix) -> list[Prefix]:
        """List the resident prefixes that main memory accepts, but for one that was just used."""
        others = (other for other in self._resident() if other is not prefix)
        return [other for other in others if self.host.accepts(*self._spans.exclusive(other.last_span))]

    def _over_resident_limit(self) -> bool:
        """Tell whether resident prefixes fill more cells than they may."""
        return self.used - self._spans.pinned > self._most_resident


def _least_recent(prefixes: Iterable[Prefix]) -> Prefix:
    """Return the least recently used prefix."""
    return min(prefixes, key=lambda prefix: prefix.last_use)
