"""Who is told how far a measurement is."""

from __future__ import annotations

from typing import Protocol


class OnStep(Protocol):
    """Is told after each chunk of text, or each request; the first call tells what is done already."""

    def __call__(self, n_done: int, n_all: int, /) -> object:
        """So many of all are done."""


def untold(n_done: int, n_all: int, /) -> None:
    """Tell nobody."""
