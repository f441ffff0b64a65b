"""The order in which lines are answered, compared with Python's sort."""

import random
from itertools import pairwise, takewhile
from pathlib import Path

import pytest

from glm_gguf.batches.line_index import Extent, LineIndex, PlacedLine
from glm_gguf.batches.prompt_order import BLOCK, prompt_blocks

COUNT = 200


@pytest.mark.parametrize("seed", range(5))
def test_neighbours_share_as_much_as_in_a_sorted_list(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    beginnings = ["".join(draw.choices("ab", k=draw.randrange(4 * BLOCK))) for _ in range(6)]
    texts = [draw.choice(beginnings) + "".join(draw.choices("abü\ud800", k=draw.randrange(5))) for _ in range(COUNT)]
    blocks = [prompt_blocks("/v1/completions", {"prompt": text}) for text in texts]
    with LineIndex(tmp_path / "index") as index:
        for number in range(COUNT):
            assert index.add(PlacedLine(number, Extent(number, 1)), str(number), blocks[number])
        answered = set(draw.sample(range(COUNT), 50))
        for number in answered:
            assert index.note_result(number, Extent(0, 1), ok=True)
        order = [line.number for line in index.pending()]
    left = sorted(set(range(COUNT)) - answered)
    assert sorted(order) == left
    whole = ["".join(one).encode("utf-8", "surrogatepass") for one in blocks]
    assert _shared([whole[number] for number in order]) == _shared(sorted(whole[number] for number in left))


def _shared(texts: list[bytes]) -> int:
    """Count the bytes that each text shares with the one before."""
    alike = (takewhile(lambda bytes_: bytes_[0] == bytes_[1], zip(*pair, strict=False)) for pair in pairwise(texts))
    return sum(len(list(pairs)) for pairs in alike)


def test_an_id_counts_once_and_a_line_has_one_result(tmp_path: Path) -> None:
    with LineIndex(tmp_path / "index") as index:
        assert index.add(PlacedLine(1, Extent(0, 5)), "a", [])
        assert not index.add(PlacedLine(2, Extent(5, 5)), "a", [])
        assert index.note_result(1, Extent(0, 9), ok=False)
        assert not index.note_result(1, Extent(9, 9), ok=True)
        assert list(index.results()) == [Extent(0, 9)]
        assert (index.count_results(ok=True), index.count_results(ok=False)) == (0, 1)
    assert not (tmp_path / "index").exists()
