"""Room in the context: the oldest observations are shortened when the conversation of a research grows too long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

KEPT: Final = 200
"""Characters that stay of a shortened observation."""
AIM: Final = 0.75
"""Share of the room that a shortened conversation takes: each shortening computes the prompt anew from there on."""
REMOVED: Final = "\n(The rest was removed to save room. Make the call again to read it.)"
OBSERVED: Final = ("observation", "tool")
Count = Callable[[Sequence[dict[str, Any]]], int]
"""Messages → tokens of their prompt."""


def make_room(messages: list[dict[str, Any]], count: Count, most: int) -> Iterator[int]:
    """Shorten observations from the oldest on until the prompt has at most `most` tokens; yield their indices.

    The last observation is shortened only if that does not suffice, and no more than it must be.
    """
    if count(messages) <= most:
        return
    long = [index for index, message in enumerate(messages) if _is_long(message)]
    for index in long[:-1]:
        messages[index] = {**messages[index], "content": messages[index]["content"][:KEPT] + REMOVED}
        yield index
        if count(messages) <= AIM * most:
            return
    for index in long[-1:]:
        while count(messages) > most and _is_long(messages[index]):
            content = messages[index]["content"].removesuffix(REMOVED)
            messages[index] = {**messages[index], "content": content[: len(content) * 3 // 4] + REMOVED}


def _is_long(message: dict[str, Any]) -> bool:
    return message["role"] in OBSERVED and len(message["content"]) > KEPT + len(REMOVED)
