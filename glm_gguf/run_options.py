"""What run() may do: turns, seconds of a call, and who approves calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from glm_gguf.chat.events import ToolCall
from glm_gguf.errors import RequestError

Approval = Callable[[ToolCall], bool | Awaitable[bool]]
"""Decides before each call whether it may run; also an `async def`. The model is told of a refused call."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The limits of a run."""

    max_turns: int = 8
    """Most answers of a run. Calls in the last of them do not run."""
    timeout: float | None = 60.0
    """Seconds for each call. A Python thread cannot be stopped: a slower function goes on, and its result is lost."""
    approve: Approval | None = None

    def __post_init__(self) -> None:
        if isinstance(self.max_turns, bool) or not isinstance(self.max_turns, int) or self.max_turns < 1:
            raise RequestError(f"{self.max_turns!r} turns", field="max_turns", fix="give at least 1")
        seconds = isinstance(self.timeout, int | float) and not isinstance(self.timeout, bool) and self.timeout > 0
        if self.timeout is not None and not seconds:
            raise RequestError(f"{self.timeout!r} seconds", field="timeout", fix="give a positive number, or None")
        if not (self.approve is None or callable(self.approve)):
            fix = "give a function of a ToolCall"
            raise RequestError(f"{type(self.approve).__name__} is no function", field="approve", fix=fix)
