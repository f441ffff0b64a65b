"""What a rendering costs: the steps left to it, and the steps of copying a value or walking over it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sized
from typing import Any, Final

import jinja2
from jinja2.utils import Namespace

STEP_CHARACTERS: Final = 64
STEP_ITEMS: Final = 8
_STEP_HELD: Final = 2
"""Items written or compared in the time of a step."""
SECONDS: Final = 60.0
"""Time of one rendering; steps end most long before."""
_LOOKS: Final = 1_000
"""Charges between two looks at the clock."""


class TooCostlyError(jinja2.TemplateError):
    """A rendering needs more steps, memory or time than any prompt does."""


class Meter:
    """Steps and time left to one rendering."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self._end = time.monotonic() + SECONDS
        self._charges = 0

    def spend(self, steps: int) -> None:
        """Take steps; TooCostlyError if too few are left."""
        self.left -= steps
        self._charges += 1
        if self.left < 0:
            raise TooCostlyError("the template has too many passes of loops and calls")
        if self._charges % _LOOKS == 0 and time.monotonic() > self._end:
            raise TooCostlyError(f"the template takes longer than {SECONDS:g} seconds")


class Metered:
    """The items of a loop, each charged; with a length if they have one, for `loop.length`."""

    def __init__(self, items: Iterable[Any], cost: int, spend: Callable[[int], None]) -> None:
        self._items = items
        self._cost = cost
        self._spend = spend

    def __len__(self) -> int:
        if not isinstance(self._items, Sized):
            raise TypeError("it has no length")
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        for item in self._items:
            self._spend(self._cost)
            yield item


def size(value: Any) -> int:
    """Return the steps of copying a value: of a list those of its references."""
    if isinstance(value, str):
        return len(value) // STEP_CHARACTERS
    return length(value) // STEP_ITEMS


def length(value: Any) -> int:
    """Return the number of items, 0 of a value that holds none."""
    return len(value) if isinstance(value, Sized) else 0


def walk(value: Any, most: int) -> int:
    """Return the steps of writing a value or comparing it, with all that it holds; stops counting above `most`.

    A list that holds another one twice is as long as its text, so that lists of 40 lines can have 2**40 items.
    """
    steps, pending = 0.0, [value]
    while pending and steps <= most:
        one = pending.pop()
        if isinstance(one, str | bytes):
            steps += len(one) / STEP_CHARACTERS
            continue
        if isinstance(one, range):  # a text is compared with each of its numbers
            steps += len(one) / _STEP_HELD
            continue
        held = _held(one)
        steps += len(held) / _STEP_HELD
        pending.extend(held)
    return int(steps)


def _held(value: Any) -> Collection[Any]:
    """Return what a value holds; of a mapping also its keys."""
    if isinstance(value, Namespace):
        value = value._Namespace__attrs
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, Collection) else ()
