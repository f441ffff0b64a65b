"""Which offloaded prefixes main memory keeps, and which it drops."""

import pytest

from glm_gguf.engine.host_cache import HostCache, HostPrefix

A, B = list(range(100)), list(range(100, 200))


def prefix(tokens: list[int], start: int = 0, scales: tuple[float, ...] = ()) -> HostPrefix:
    return HostPrefix(tokens, scales, start, b"")


def test_the_prefix_that_holds_most_after_the_first_tokens_is_found() -> None:
    cache = HostCache(1000)
    short, long = prefix(A[:60]), prefix([*A[:80], *B[:20]])
    cache.put(short)
    cache.put(long)
    assert cache.longest_after(A, 0, ()) == (long, 80)
    assert cache.longest_after(A[:40], 0, ()) == (long, 40)
    assert cache.longest_after(A, 70, ()) is None  # ten tokens are too few
    assert cache.longest_after(B, 0, ()) is None


def test_a_tail_counts_where_its_head_is_known() -> None:
    cache = HostCache(1000)
    tail = prefix(A, start=50)
    cache.put(tail)
    assert cache.used == 50
    assert cache.longest_after(A, 49, ()) is None
    assert cache.longest_after(A, 50, ()) == (tail, 100)


def test_prefixes_of_different_adapters_are_apart() -> None:
    cache = HostCache(1000)
    cache.put(prefix(A, scales=(1.0,)))
    cache.put(prefix(A, scales=(0.0,)))
    assert cache.used == 200
    assert cache.longest_after(A, 0, (0.5,)) is None
    assert cache.longest_after(A, 0, (1.0,)) is not None


def test_a_longer_prefix_replaces_those_that_it_covers() -> None:
    cache = HostCache(1000)
    tail = prefix([*A[:50], *B[:30]], start=50)
    for one in (prefix(A[:50]), tail, prefix(A)):
        cache.put(one)
    assert [len(kept.tokens) for kept in cache.prefixes] == [80, 100]
    cache.put(prefix([*A[:50], *B], start=50))
    assert cache.used == 100 + 100


def test_the_least_recently_used_is_dropped_first() -> None:
    cache = HostCache(250)
    first, second = prefix(A), prefix(B)
    cache.put(first)
    cache.put(second)
    cache.touch(first)
    cache.put(prefix([1] * 100))
    assert cache.longest_after(B, 0, ()) is None
    assert cache.longest_after(A, 0, ()) == (first, 100)


def test_a_dropped_prefix_can_be_dropped_again() -> None:
    cache = HostCache(100)
    first = prefix(A)
    cache.put(first)
    cache.put(prefix(B))
    cache.drop(first)
    assert cache.used == 100


def test_prefixes_that_are_too_short_or_too_long_are_not_accepted() -> None:
    cache = HostCache(100)
    assert [cache.accepts(size, 1) for size in (15, 16, 100, 101)] == [False, True, True, False]
    assert not any(HostCache(0).accepts(size, 1) for size in (0, 1, 16, 1000))


@pytest.mark.parametrize(
    ("n_cells", "n_runs", "taken"), [(16, 1, True), (16, 16, False), (71, 8, True), (74, 11, False)]
)
def test_prefixes_in_too_many_pieces_are_not_accepted(n_cells: int, n_runs: int, taken: bool) -> None:
    assert HostCache(100, shortest_run=8).accepts(n_cells, n_runs) is taken
    assert HostCache(100).accepts(n_cells, n_runs)
