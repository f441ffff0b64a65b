"""Decide which turns of a conversation to drop when it is longer than the context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

from glm_gguf.chat.messages import TemplateMessage
from glm_gguf.errors import RequestError

OnOverflow = Literal["error", "drop_oldest_turns"]
MOST_RESERVED = 512
"""Tokens kept free for the answer if the caller gives no max_tokens."""


def drops_turns(on_overflow: str) -> bool:
    """Tell whether to shorten a conversation that is too long; RequestError for an unknown value."""
    if on_overflow not in get_args(OnOverflow):
        fix = f"give one of {', '.join(get_args(OnOverflow))}"
        raise RequestError(f"{on_overflow!r} is unknown", field="on_overflow", fix=fix)
    return on_overflow == "drop_oldest_turns"


def reserved_tokens(max_tokens: int | None, n_ctx: int) -> int:
    """Return how many tokens to keep free for the answer: max_tokens, but at most half the context."""
    return min(max_tokens or MOST_RESERVED, n_ctx // 2)


def without_oldest_turns(
    messages: Sequence[TemplateMessage], fits: Callable[[Sequence[TemplateMessage]], bool]
) -> list[TemplateMessage]:
    """Drop as few of the oldest turns as make a conversation fit; the last turn and system messages stay.

    A turn lasts from one user message to the next, with its calls and their results.
    """
    starts = [index for index, message in enumerate(messages) if message["role"] == "user"]
    low, high = 0, max(len(starts) - 1, 0)
    while low < high:
        middle = (low + high) // 2
        if fits(_from_turn(messages, starts, middle)):
            high = middle
        else:
            low = middle + 1
    return _from_turn(messages, starts, low)


def _from_turn(messages: Sequence[TemplateMessage], starts: Sequence[int], turn: int) -> list[TemplateMessage]:
    """Return the system messages, and all messages from a turn on."""
    start = starts[turn] if turn else 0
    return [message for index, message in enumerate(messages) if index >= start or message["role"] == "system"]
