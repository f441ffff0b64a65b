"""Prefixes that left the KV cache: main memory keeps their keys and values, so that they are not computed anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from glm_gguf.engine.token_trie import TokenTrie
from glm_gguf.llama.engine_options import Scales

WORTH_OFFLOADING: Final = 16
"""Tokens: fewer are not worth the looking through when a prompt comes."""
SHORTEST_RUN_ON_GPU: Final = 8
"""Cells. llama.cpp copies each run of them by itself, keys and values of every layer: on an H200 with 40 layers that
takes 0.8 ms, in which the GPU reads 6 tokens of a prompt. Answers that are written side by side have runs of one."""


@dataclass(frozen=True, slots=True, eq=False)
class HostPrefix:
    """Tokens, and the keys and values of those from `start` on, as llama.cpp wrote them.

    What lies before `start` was shared with another prefix when this one left, and is sought there.
    """

    tokens: list[int]
    scales: Scales
    start: int
    state: bytes

    @property
    def size(self) -> int:
        """Tokens whose keys and values are here."""
        return len(self.tokens) - self.start

    def covers(self, other: HostPrefix) -> bool:
        """Tell whether another prefix has nothing that this one has not."""
        length = len(other.tokens)
        alike = self.scales == other.scales and self.start <= other.start
        # The last token tells most of them apart, for less than a look at all.
        return alike and self.tokens[length - 1 : length] == other.tokens[-1:] and self.tokens[:length] == other.tokens


class HostCache:
    """Prefixes up to a number of tokens; those used longest ago are forgotten first.

    Only such are kept whose cells lie in runs of at least `shortest_run`, on average: every run is copied by itself.
    """

    def __init__(self, most_tokens: int, shortest_run: int = 1) -> None:
        self.most_tokens = most_tokens
        self._shortest_run = shortest_run
        self._prefixes: list[HostPrefix] = []  # the one used last at the end
        self._trie: TokenTrie[HostPrefix] = TokenTrie()

    @property
    def used(self) -> int:
        """Tokens whose keys and values are here."""
        return sum(prefix.size for prefix in self._prefixes)

    @property
    def prefixes(self) -> tuple[HostPrefix, ...]:
        """Everything kept, the one used last at the end."""
        return tuple(self._prefixes)

    def accepts(self, n_cells: int, n_runs: int) -> bool:
        """Tell whether the tokens in so many cells, which lie in so many runs, are to be kept."""
        return WORTH_OFFLOADING <= n_cells <= self.most_tokens and n_cells >= n_runs * self._shortest_run

    def put(self, new: HostPrefix) -> None:
        """Keep a prefix, in place of those that it holds."""
        for held in [prefix for prefix in self._prefixes if new.covers(prefix)]:
            self.drop(held)
        self._prefixes.append(new)
        self._trie.note(new, new.tokens, new.scales)
        while self.used > self.most_tokens:
            self.drop(self._prefixes[0])

    def behind(self, tokens: list[int], length: int, scales: Scales) -> tuple[HostPrefix, int] | None:
        """Find who knows most of `tokens` behind their first `length`, and how many there are then."""
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
        """Note that a prefix was used."""
        self._prefixes.remove(prefix)
        self._prefixes.append(prefix)

    def drop(self, prefix: HostPrefix) -> None:
        """Give up a prefix, if it is still kept."""
        self._prefixes = [kept for kept in self._prefixes if kept is not prefix]
        self._trie.forget(prefix)

    def clear(self) -> None:
        """Give up everything."""
        for prefix in self.prefixes:
            self.drop(prefix)
