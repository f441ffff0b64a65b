"""Conversations that are longer than the context: which of their turns go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

from glm_gguf.chat.messages import TemplateMessage
from glm_gguf.errors import RequestError

OnOverflow = Literal["error", "drop_oldest_turns"]
MOST_RESERVED = 512
"""Tokens kept free for the answer where its length was not given."""


def drops_turns(on_overflow: str) -> bool:
    """Tell whether a conversation that is too long is shortened; RequestError for a word that is not known."""
    if on_overflow not in get_args(OnOverflow):
        fix = f"give one of {', '.join(get_args(OnOverflow))}"
        raise RequestError(f"{on_overflow!r} is unknown", field="on_overflow", fix=fix)
    return on_overflow == "drop_oldest_turns"


def reserved_tokens(max_tokens: int | None, n_ctx: int) -> int:
    """Return how much room an answer should find: what was asked for, at most half the context."""
    return min(max_tokens or MOST_RESERVED, n_ctx // 2)


def without_oldest_turns(
    messages: Sequence[TemplateMessage], fits: Callable[[Sequence[TemplateMessage]], bool]
) -> list[TemplateMessage]:
    """Drop as few of the oldest turns as make a conversation fit, never the last; system messages stay.

    A turn goes from a user's message to the next: its calls and their results go together.
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
    """Return the system messages, and everything from a turn on."""
    start = starts[turn] if turn else 0
    return [message for index, message in enumerate(messages) if index >= start or message["role"] == "system"]
