"""The choice of options within a budget, compared with all choices there are."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest

from glm_gguf.convert.recipe.knapsack import Option, choose


def drawn(seed: int, n_items: int, most_bytes: int) -> tuple[list[list[Option]], int]:
    """Random items, and a budget between the smallest and the largest choice."""
    dice = Random(seed)
    sizes = [[dice.randint(1, most_bytes) for _ in range(dice.randint(1, 5))] for _ in range(n_items)]
    items = [[Option(size, dice.random()) for size in options] for options in sizes]
    return items, dice.randint(sum(map(min, sizes)), sum(map(max, sizes)))


def totals(items: list[list[Option]], chosen: tuple[int, ...]) -> tuple[int, float]:
    """Bytes and error of a choice."""
    taken = [options[number] for options, number in zip(items, chosen, strict=True)]
    return sum(option.n_bytes for option in taken), sum(option.error for option in taken)


@pytest.mark.parametrize("seed", range(40))
def test_no_choice_within_the_budget_is_better(seed: int) -> None:
    items, budget = drawn(seed, 1 + seed % 5, 40)
    n_bytes, error = totals(items, choose(items, budget))
    every = (totals(items, chosen) for chosen in product(*(range(len(options)) for options in items)))
    assert n_bytes <= budget
    assert error == pytest.approx(min(error for n_bytes, error in every if n_bytes <= budget))


@pytest.mark.parametrize("seed", range(3))
def test_no_single_change_of_a_large_choice_improves_it(seed: int) -> None:
    items, budget = drawn(seed, 120, 10**9)
    chosen = choose(items, budget)
    n_bytes, error = totals(items, chosen)
    assert n_bytes <= budget
    for item, options in enumerate(items):
        for number in range(len(options)):
            changed = totals(items, (*chosen[:item], number, *chosen[item + 1 :]))
            assert changed[0] > budget or changed[1] >= error - 1e-9


@pytest.mark.parametrize("budget", [10, 30], ids=["smallest", "largest"])
def test_the_bounds_themselves_are_chosen(budget: int) -> None:
    items = [[Option(15, 0.1), Option(5, 0.9)], [Option(5, 0.8), Option(15, 0.2)]]
    assert totals(items, choose(items, budget))[0] == budget
