"""Whether a grammar accepts a JSON value in any order of its objects' keys: a search that asks the grammar."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from typing import Any, Protocol

sys.setrecursionlimit(50_000)


class Walker(Protocol):
    """A grammar that has read part of a text."""

    def take(self, text: str) -> bool:
        """Read a text; False, and nothing read, if the grammar refuses it."""

    def mark(self) -> Any:
        """Return a mark of this position."""

    def back(self, mark: Any) -> None:
        """Return to a mark."""

    def complete(self) -> bool:
        """The text may end here."""


class Search:
    """The search for one value; `ranks` says which keys are tried first, `most_texts` how many texts are tried.

    Grammars have an order: a key that could come before another and cannot behind it must most likely come first. So
    that is tried first, and all orders only then.
    """

    def __init__(self, walker: Walker, ranks: dict[str, int], most_texts: int) -> None:
        self._walker = walker
        self._ranks = ranks
        self._most_texts = most_texts
        self._steps = 0
        self._in_order = True

    def takes(self, value: Any) -> bool:
        """Tell whether the grammar accepts the value in some order."""
        start = self._walker.mark()
        for self._in_order in (True, False):
            self._steps = 0
            if self._value(value, self._walker.complete):
                return True
            self._walker.back(start)
        return False

    def _offer(self, text: str, then: Callable[[], bool], *, undo: bool = False) -> bool:
        """Read a text and go on; undone if the rest is refused, or if it was only a trial."""
        self._steps += 1
        if self._steps > self._most_texts:
            return False
        mark = self._walker.mark()
        taken = self._walker.take(text) and then()
        if undo or not taken:
            self._walker.back(mark)
        return taken

    def _value(self, value: Any, then: Callable[[], bool]) -> bool:
        if isinstance(value, dict) and value:
            keys = sorted(value, key=lambda key: self._ranks.get(key, len(self._ranks)))
            return self._offer("{", lambda: self._pairs(value, keys, "", then))
        if isinstance(value, list) and value:
            return self._offer("[", lambda: self._items(value, 0, then))
        return any(self._offer(text, then) for text in scalar(value))

    def _pairs(self, value: dict[str, Any], keys: list[str], separator: str, then: Callable[[], bool]) -> bool:
        if not keys:
            return self._offer("}", then)
        possible = [key for key in keys if self._offer(f"{separator}{written(key)}: ", _once, undo=True)]

        before = possible if self._in_order else []

        def follow(key: str) -> bool:
            rest = [other for other in keys if other != key]
            return self._value(value[key], lambda: self._rest(value, rest, before, then))

        return any(self._offer(f"{separator}{written(key)}: ", partial(follow, key)) for key in possible)

    def _rest(self, value: dict[str, Any], keys: list[str], before: list[str], then: Callable[[], bool]) -> bool:
        """Go on with the other keys, unless one of them could come before and now cannot."""
        still = (self._offer(f", {written(key)}: ", _once, undo=True) for key in keys if key in before)
        return all(still) and self._pairs(value, keys, ", ", then)

    def _items(self, value: list[Any], index: int, then: Callable[[], bool]) -> bool:
        if index == len(value):
            return self._offer("]", then)

        def follow() -> bool:
            return self._value(value[index], lambda: self._items(value, index + 1, then))

        return self._offer(", ", follow) if index else follow()


def _once() -> bool:
    return True


def scalar(value: Any) -> Iterator[str]:
    """Write a scalar; a number also without exponent and empty fraction."""
    if isinstance(value, float) and value == value // 1:
        yield str(int(value))
    elif isinstance(value, float):
        yield f"{Decimal(repr(value)):f}"
    yield written(value)


def written(value: Any) -> str:
    """Write JSON as the grammars read it: DEL is escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def declared_ranks(schema: Any) -> dict[str, int]:
    """Number property names in a schema's order."""
    return {name: rank for rank, name in enumerate(dict.fromkeys(_names(schema)))}


def _names(schema: Any) -> Iterator[str]:
    waiting = [schema]
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, dict):
            if isinstance(node.get("properties"), dict):
                yield from node["properties"]
            if isinstance(node.get("required"), list):
                yield from (name for name in node["required"] if isinstance(name, str))
        if isinstance(node, dict | list):
            waiting += node.values() if isinstance(node, dict) else node
