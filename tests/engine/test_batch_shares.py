"""A batch is shared so that no sequence starves, and none waits while the batch has room."""

import pytest

from glm_gguf.engine.batch_shares import half, shares
from glm_gguf.engine.token_trie import common_length

CASES = {
    "a prompt alone gets the whole batch": ([900], [512]),
    "one token each": ([1, 1, 1], [1, 1, 1]),
    "a prompt beside one that is written": ([1, 900], [1, 128]),
    "forced tokens go whole": ([9, 900, 1], [9, 128, 1]),
    "equal prompts are read one by one": ([900, 900], [512, 0]),
    "the first and the shortest": ([700, 900, 300], [256, 0, 256]),
    "who came first gets half, who lacks least the rest": ([900, 300, 1, 40], [64, 24, 1, 40]),
    "a short prompt leaves the rest": ([900, 20, 1], [108, 20, 1]),
    "nobody": ([], []),
}


@pytest.mark.parametrize(("pending", "expected"), CASES.values(), ids=CASES.keys())
def test_shares(pending: list[int], expected: list[int]) -> None:
    assert shares(pending, 512, 128) == expected


def test_a_tiny_batch_never_overflows_and_always_advances() -> None:
    for pending in ([1] * 8, [50] * 8, [1, 50, 50], [16, 16, 16]):
        given = shares(pending, 8, 4)
        assert 0 < sum(given) <= 8
        assert all(0 <= share <= need for share, need in zip(given, pending, strict=True))


@pytest.mark.parametrize(
    ("given", "last", "expected"),
    [
        ([1, 1, 1, 1], [5, 4, 5, 4], [0, 1, 0, 1]),
        ([1, 1, 1], [5, 4, -1], [0, 1, 1]),
        ([6, 0, 2], [3, 1, 2], [0, 0, 2]),
        ([9], [0], [9]),
    ],
    ids=["who waited", "the larger half of an odd number", "who gets nothing does not count", "one is never halved"],
)
def test_half(given: list[int], last: list[int], expected: list[int]) -> None:
    assert half(given, last) == expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [([], [1], 0), ([1, 2], [1, 2, 3], 2), ([1, 2, 3], [1, 2, 4], 2), ([5], [6], 0), ([1, 2, 3], [9, 2, 3], 0)],
)
def test_common_length(first: list[int], second: list[int], expected: int) -> None:
    assert common_length(first, second) == expected
    assert common_length(second, first) == expected
