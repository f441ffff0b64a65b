"""The KV cache's counts and look-ups, compared with a cache of single cells and with a search through everything."""

from __future__ import annotations

import random
import time

import pytest

from glm_gguf.engine.host_cache import WORTH_OFFLOADING, HostCache
from glm_gguf.engine.kv_cache import KvCache, Prefix
from glm_gguf.engine.token_trie import common_length

MIXES = ((), (1.0,))


class SlowCells:
    """Sequences as lists of cells, which copies share, as in llama.cpp's unified cache."""

    def __init__(self) -> None:
        self.sequences: dict[int, list[object]] = {}

    def copy(self, source: int, target: int, length: int, start: int = 0) -> None:
        held, given = self.sequences.setdefault(target, []), self.sequences[source]
        held += given[start:length] if len(given) >= length else given[: length - start]  # those of a restored one

    def truncate(self, sequence: int, length: int) -> None:
        del self.sequences.setdefault(sequence, [])[length:]

    def state(self, sequence: int) -> bytes:
        return len(self.sequences[sequence]).to_bytes(4, "big")

    def restore(self, sequence: int, state: bytes) -> None:
        assert not self.sequences.get(sequence)
        self.compute(sequence, int.from_bytes(state, "big"))

    def compute(self, sequence: int, length: int) -> None:
        self.sequences.setdefault(sequence, []).extend(object() for _ in range(length))

    def distinct(self, prefixes: list[Prefix]) -> int:
        return len({id(cell) for prefix in prefixes for cell in self.sequences.get(prefix.sequence, [])})


def check(cache: KvCache, cells: SlowCells, wanted: list[int], mix: tuple[float, ...]) -> None:
    """Compare the counts with the cells, and look-ups with a search through everything."""
    prefixes = list(cache.prefixes)
    pinned = [prefix for prefix in prefixes if prefix.pinned]
    assert all(len(cells.sequences.get(prefix.sequence, [])) == len(prefix.tokens) for prefix in prefixes)
    assert cache.used == cells.distinct(prefixes)
    alike = [prefix for prefix in prefixes if prefix.scales == mix]
    longest = max((common_length(prefix.tokens, wanted) for prefix in alike), default=0)
    assert cache.longest(wanted, mix)[1] == longest
    shared = max((common_length(prefix.tokens, wanted) for prefix in alike if prefix.pinned), default=0)
    assert cache.has_room(wanted, mix) == (cache.n_cells - cells.distinct(pinned) >= len(wanted) - shared)
    saved = [prefix for prefix in cache.host.prefixes if prefix.scales == mix and prefix.start <= longest]
    behind = max((common_length(prefix.tokens, wanted) for prefix in saved), default=0)
    assert cache.known(wanted, mix) == (behind if behind >= longest + WORTH_OFFLOADING else longest)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("most_tokens", [0, 300, 5000], ids="{} in main memory".format)
def test_random_answers_are_counted_as_their_cells_are(seed: int, most_tokens: int) -> None:
    dice = random.Random(seed)
    cells = SlowCells()
    cache = KvCache(cells, 900, 6, HostCache(most_tokens))
    texts = [[dice.randrange(3) for _ in range(length)] for length in (5, 40, 200, 400)]
    running: list[Prefix] = []
    for _ in range(250):
        text = dice.choice(texts)
        wanted = text[: dice.randrange(len(text) + 1)] + [dice.randrange(3) for _ in range(dice.choice([0, 3, 60]))]
        mix = dice.choice(MIXES)
        check(cache, cells, wanted, mix)
        if len(running) < 4 and dice.random() < 0.5:
            running.append(cache.pin(wanted, mix))
            assert wanted[: len(running[-1].tokens)] == running[-1].tokens
        elif running:
            prefix = dice.choice(running)
            more = [dice.randrange(3) for _ in range(dice.choice([1, 2, 33, 90]))]
            match dice.randrange(7):
                case 0 | 1 | 2 if cache.make_room(len(more)):
                    cells.compute(prefix.sequence, len(more))
                    cache.append(prefix, more)
                case 3:
                    cache.truncate(prefix, dice.randrange(len(prefix.tokens) + 1))
                case 4 | 5:
                    running.remove(prefix)
                    cache.unpin(prefix)
                case 6:
                    running.remove(prefix)
                    cache.drop(prefix)
    for prefix in running:
        cache.unpin(prefix)
    cache.clear()
    check(cache, cells, [1, 2, 3], ())
    assert cache.used == cache.host.used == 0
    assert not cache.prefixes


def test_a_long_prefix_is_pinned_at_once_among_many() -> None:
    """200 cached conversations that share their first 4,000 tokens, one of them 30,000 long."""
    cells, beginning = SlowCells(), list(range(4_000))
    cache = KvCache(cells, 200_000, 16, HostCache(0))
    for index in range(200):
        wanted = [*beginning, *(range(26_000) if index == 100 else [index] * 200)]
        prefix = cache.pin(wanted, ())
        new = wanted[len(prefix.tokens) :]
        cells.compute(prefix.sequence, len(new))
        cache.append(prefix, new)
        cache.unpin(prefix)
    wanted = [*beginning, *range(26_000), 1]
    begun = time.process_time()
    taken = cache.pin(wanted, ())
    spent = time.process_time() - begun
    assert len(taken.tokens) == 30_000
    assert spent < 0.02  # seconds; 0.001 where nothing else runs
