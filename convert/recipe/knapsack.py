"""One choice for each item, of least total error within a budget of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

UNITS = 2**15
"""Steps into which the spare bytes are divided: a table of all items has a byte for each step."""


@dataclass(frozen=True, slots=True)
class Option:
    """What an item may be: its bytes, and what it costs beside them."""

    n_bytes: int
    error: float


Items = Sequence[Sequence[Option]]


def choose(items: Items, budget: int) -> tuple[int, ...]:
    """The number of the option of each item. The smallest options together fit into the budget.

    Dynamic programming over the bytes that are left, each option's rounded up to a step of the budget; then changes of
    one and of two items for what the rounding left. No single change and no exchange of two improves the result.
    """
    useful = [_useful(options) for options in items]
    least = [min(options[number].n_bytes for number in numbers) for options, numbers in zip(items, useful, strict=True)]
    spare = budget - sum(least)
    assert spare >= 0
    unit = max(1, -(-spare // UNITS))
    best = np.zeros(spare // unit + 1)
    taken: list[npt.NDArray[np.uint8]] = []
    for options, numbers, smallest in zip(items, useful, least, strict=True):
        tried = np.full((len(numbers), best.size), np.inf)
        for row, number in enumerate(numbers):
            step = -(-(options[number].n_bytes - smallest) // unit)
            if step < best.size:
                tried[row, step:] = best[: best.size - step] + options[number].error
        found = tried.argmin(axis=0)
        best = tried[found, np.arange(best.size)]
        taken.append(found.astype(np.uint8))
    chosen, left = [0] * len(items), best.size - 1
    for item in reversed(range(len(items))):
        number = chosen[item] = useful[item][taken[item][left]]
        left -= -(-(items[item][number].n_bytes - least[item]) // unit)
    _improve(items, useful, chosen, budget)
    return tuple(chosen)


def _useful(options: Sequence[Option]) -> list[int]:
    """The options that are better than every smaller one, by size."""
    numbers = sorted(range(len(options)), key=lambda number: (options[number].n_bytes, options[number].error, number))
    found: list[int] = []
    for number in numbers:
        if not found or options[number].error < options[found[-1]].error:
            found.append(number)
    return found


def _improve(items: Items, useful: Sequence[Sequence[int]], chosen: list[int], budget: int) -> None:
    """Make changes of one item or two as long as one lessens the error."""
    while (change := _best_change(items, useful, chosen, budget)) is not None:
        for item, number in change:
            chosen[item] = number


def _best_change(
    items: Items, useful: Sequence[Sequence[int]], chosen: Sequence[int], budget: int
) -> list[tuple[int, int]] | None:
    spare = budget - sum(options[number].n_bytes for options, number in zip(items, chosen, strict=True))
    moves = [
        (options[number].n_bytes - options[now].n_bytes, options[number].error - options[now].error, item, number)
        for item, (options, numbers, now) in enumerate(zip(items, useful, chosen, strict=True))
        for number in numbers
        if number != now
    ]
    moves.sort()
    sizes, errors, owners = (np.array([move[part] for move in moves]) for part in range(3))
    gained, change = -1e-12 * sum(options[now].error for options, now in zip(items, chosen, strict=True)), None
    for size, error, item, number in moves:
        if error >= 0:
            continue
        if size <= spare and error < gained:
            gained, change = error, [(item, number)]
        partners = np.searchsorted(sizes, spare - size, side="right")
        together = np.where(owners[:partners] == item, np.inf, errors[:partners] + error)
        if together.size and together.min() < gained:
            other = moves[int(together.argmin())]
            gained, change = float(together.min()), [(item, number), other[2:]]
    return change
