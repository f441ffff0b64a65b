"""Prefixes offloaded from the KV cache: main memory keeps their keys and values, and restores them later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from glm_gguf.engine.token_trie import TokenTrie
from glm_gguf.llama.engine_options import Scales

WORTH_OFFLOADING: Final = 16
"""Tokens: to search for fewer at every new prompt costs more than to compute them again."""
MOST_RESIDENT: Final = 512
"""Cells of finished answers that stay in the KV cache where main memory can take them."""
SHORTEST_RUN_ON_GPU: Final = 8
"""Cells. llama.cpp copies each run by itself, keys and values of every layer. On an H200 with 40 layers a run takes
0.8 ms, the time of 6 tokens of prefill. Sequences decoded in the same batches have runs of one cell."""


@dataclass(frozen=True, slots=True, eq=False)
class HostPrefix:
    """Tokens, and the state of those from `start` on: their keys and values as llama.cpp wrote them.

    Another prefix shared the tokens before `start` when this one was evicted, and holds their state.
    """

    tokens: list[int]
    scales: Scales
    start: int
    state: bytes

    @property
    def size(self) -> int:
        """Tokens whose state is here."""
        return len(self.tokens) - self.start

    def covers(self, other: HostPrefix) -> bool:
        """Tell whether another prefix holds nothing that this one lacks."""
        length = len(other.tokens)
        alike = self.scales == other.scales and self.start <= other.start
        # The last token tells most prefixes apart, at less cost than all tokens.
        return alike and self.tokens[length - 1 : length] == other.tokens[-1:] and self.tokens[:length] == other.tokens


class HostCache:
    """Prefixes up to a number of tokens; the least recently used are dropped first.

    It accepts prefixes whose cells lie in runs of at least `shortest_run` on average: every run is copied by itself.
    """

    def __init__(self, most_tokens: int, shortest_run: int = 1) -> None:
        self.most_tokens = most_tokens
        self._shortest_run = shortest_run
        self._prefixes: list[HostPrefix] = []  # the most recently used last
        self._trie: TokenTrie[HostPrefix] = TokenTrie()

    def most_resident(self, n_cells: int) -> int:
        """Return how many of the KV cache's cells finished answers may hold: the rest is offloaded early."""
        return MOST_RESIDENT if self.most_tokens else n_cells

    @property
    def used(self) -> int:
        """Tokens whose state is here."""
        return sum(prefix.size for prefix in self._prefixes)

    @property
    def prefixes(self) -> tuple[HostPrefix, ...]:
        """All prefixes, the most recently used last."""
        return tuple(self._prefixes)

    def accepts(self, n_cells: int, n_runs: int) -> bool:
        """Tell whether to keep the tokens of so many cells, which lie in so many runs."""
        return WORTH_OFFLOADING <= n_cells <= self.most_tokens and n_cells >= n_runs * self._shortest_run

    def put(self, new: HostPrefix) -> None:
        """Add a prefix, and drop those that it covers."""
        for covered in [prefix for prefix in self._prefixes if new.covers(prefix)]:
            self.drop(covered)
        self._prefixes.append(new)
        self._trie.note(new, new.tokens, new.scales)
        while self.used > self.most_tokens:
            self.drop(self._prefixes[0])

    def longest_after(self, tokens: list[int], length: int, scales: Scales) -> tuple[HostPrefix, int] | None:
        """Find the prefix that holds most of `tokens` after their first `length`, and count the tokens known then."""
        walk = self._trie.walk(tokens, scales)
        best: HostPrefix | None = None
        known = length + WORTH_OFFLOADING - 1
        for owners in (walk.deepest, walk.sharing(known)):
            for prefix in owners:
                if prefix.start <= length:
                    common = self._trie.common(prefix, prefix.tokens, walk)
                    if common > known:
                        best, known = prefix, common
            if best is not None:
                return best, known
        return None

    def touch(self, prefix: HostPrefix) -> None:
        """Note that a prefix is used now."""
        self._prefixes.remove(prefix)
        self._prefixes.append(prefix)

    def drop(self, prefix: HostPrefix) -> None:
        """Drop a prefix, if it is still there."""
        self._prefixes = [kept for kept in self._prefixes if kept is not prefix]
        self._trie.forget(prefix)

    def clear(self) -> None:
        """Drop everything."""
        for prefix in self.prefixes:
            self.drop(prefix)
