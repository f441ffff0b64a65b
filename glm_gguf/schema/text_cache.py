"""What was made of texts, kept for the next time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class TextCache(Generic[Value]):
    """Values by the texts they were made of, those used last, up to a number of characters; any thread may use it."""

    def __init__(self, most_characters: int) -> None:
        self._most = most_characters
        self._characters = 0
        self._lock = threading.Lock()
        self._values: OrderedDict[str, Value] = OrderedDict()

    def get(self, text: str) -> Value | None:
        """Return what was made of a text; None where nothing is kept."""
        with self._lock:
            value = self._values.get(text)
            if value is not None:
                self._values.move_to_end(text)
            return value

    def put(self, text: str, value: Value) -> None:
        """Keep a value, and evict those that were used least lately."""
        with self._lock:
            if text not in self._values:
                self._characters += len(text)
            self._values[text] = value
            while self._characters > self._most:
                evicted, _ = self._values.popitem(last=False)
                self._characters -= len(evicted)
