"""The form of an answer that its parser expects: functions, thought, text begun in the prompt, syntax of calls."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ExpectedForm:
    """The declared functions, where the answer starts, and how its calls are written."""

    functions: Collection[str] = ()
    starts_in_thought: bool = False
    begun: str | None = None
    """The prompt ends with this text of the answer, or of its thought if it starts in one; it may be empty. No call can
    stand there. None if nothing is begun."""
    json_calls: bool = False
    """A call may be one object {"name": …, "arguments": …} (Rumination)."""
    lenient: bool = False
    """Arguments may be a Python dict literal; the call is then marked as repaired."""
    certain: bool = False
    """A grammar makes every part that begins with a declared name a valid call: its arguments are streamed."""
    accepts: Callable[[str, dict[str, Any]], bool] | None = field(default=None, compare=False)
    """Tells whether arguments fit a function; if not, the text is no call."""

    @property
    def opened(self) -> bool:
        """The prompt begins the answer itself: neither a thought nor a call can start it."""
        return self.begun is not None and not self.starts_in_thought

    @property
    def begun_answer(self) -> str:
        """Text of the answer that stands in the prompt."""
        return (self.begun or "") if self.opened else ""

    @property
    def begun_thought(self) -> str:
        """Text of the thought that stands in the prompt."""
        return (self.begun or "") if self.starts_in_thought else ""
