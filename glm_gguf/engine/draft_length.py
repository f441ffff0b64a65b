"""How many draft tokens a batch computes: as many as its measured curve says will pay."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Final, Literal

from glm_gguf.engine.batch_curve import MOST_ROWS, BatchCurve
from glm_gguf.engine.draft import Draft

MOST_DRAFT: Final = MOST_ROWS - 1
_FREE: Final = 1.02
"""Beside other answers a draft may make a batch slower by this factor at most."""

_WORTH_A_TRY: Final = 0.5
"""Share of a draft that must be right on average, so that it measures a size of batch that was not tried."""


class DraftLength:
    """The length of drafts: a number, or what pays by the batches measured so far."""

    def __init__(self, length: int | Literal["auto"]) -> None:
        self.most = MOST_DRAFT if length == "auto" else min(length, MOST_DRAFT)
        self._adapts = length == "auto"
        self.curve = BatchCurve()

    def count_that_pays(self, gains: Sequence[float], n_rows: int, *, alone: bool, token_seconds: float = 0.0) -> int:
        """Return how many of the draft tokens pay.

        Each adds `gains` tokens to the answers on average, and takes `token_seconds` to draft.
        """
        if not self._adapts:
            return len(gains)
        for size in self.curve.untried(n_rows + len(gains)) if alone and self.curve.reach else ():
            drafted = size - n_rows
            if sum(gains[:drafted]) > _WORTH_A_TRY * drafted:
                return drafted
        reach = min(len(gains), self.curve.reach - n_rows)
        if reach <= 0:
            return 0
        now = self.curve.seconds(n_rows)
        if not alone:
            return max(count for count in range(reach + 1) if self.curve.seconds(n_rows + count) <= now * _FREE)
        tokens, best, best_rate = 1.0, 0, 1 / now
        for count in range(1, reach + 1):
            tokens += gains[count - 1]
            rate = tokens / (self.curve.seconds(n_rows + count) + count * token_seconds)
            if rate > best_rate:
                best, best_rate = count, rate
        return best


def likeliest(drafts: Sequence[Draft], chances: Sequence[float], most: int) -> list[tuple[int, float]]:
    """List the draft tokens that are likeliest to be right: index of the draft, and the probability.

    A token is right only where those before it are, so they come before it.
    """
    heap = [(-chance, index, 1) for index, chance in enumerate(chances) if drafts[index].tokens]
    heapq.heapify(heap)
    chosen: list[tuple[int, float]] = []
    while heap and len(chosen) < most:
        negative, index, count = heapq.heappop(heap)
        chosen.append((index, -negative))
        if count < len(drafts[index].tokens):
            heapq.heappush(heap, (negative * chances[index], index, count + 1))
    return chosen
