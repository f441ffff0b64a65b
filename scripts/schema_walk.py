"""Whether a grammar takes a JSON value in any order of its objects' keys: a search that asks the grammar."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any, Protocol

sys.setrecursionlimit(50_000)


class Walker(Protocol):
    """A grammar on its way through a text."""

    patience: int
    """Pieces of text it is offered for one value at most."""

    def take(self, text: str) -> bool:
        """Go on by a text; False, and no step, where it is not allowed."""

    def mark(self) -> Any:
        """Remember this place."""

    def back(self, mark: Any) -> None:
        """Return to a place."""

    def complete(self) -> bool:
        """The text may end here."""


class Search:
    """The search for one value; `ranks` is the order in which keys are tried first."""

    def __init__(self, walker: Walker, ranks: dict[str, int]) -> None:
        self._walker = walker
        self._ranks = ranks
        self._steps = 0

    def takes(self, value: Any) -> bool:
        """Tell whether the value is taken in some order."""
        return self._value(value, self._walker.complete)

    def _offer(self, text: str, then: Callable[[], bool]) -> bool:
        """Take a text and go on; undone where that leads nowhere."""
        self._steps += 1
        if self._steps > self._walker.patience:
            return False
        mark = self._walker.mark()
        if self._walker.take(text) and then():
            return True
        self._walker.back(mark)
        return False

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
        for index, key in enumerate(keys):
            rest = keys[:index] + keys[index + 1 :]

            def follow(key: str = key, rest: list[str] = rest) -> bool:
                return self._value(value[key], lambda: self._pairs(value, rest, ", ", then))

            if self._offer(f"{separator}{written(key)}: ", follow):
                return True
        return False

    def _items(self, value: list[Any], index: int, then: Callable[[], bool]) -> bool:
        if index == len(value):
            return self._offer("]", then)

        def follow() -> bool:
            return self._value(value[index], lambda: self._items(value, index + 1, then))

        return self._offer(", ", follow) if index else follow()


def scalar(value: Any) -> Iterator[str]:
    """Write a value without parts; a whole number also without its fraction, which is the same number."""
    if isinstance(value, float) and value == value // 1:
        yield str(int(value))
    yield written(value)


def written(value: Any) -> str:
    """Write JSON as the grammars have it: DEL is escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def declared_ranks(schema: Any) -> dict[str, int]:
    """Number the names of properties in the order in which a schema declares them."""
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
