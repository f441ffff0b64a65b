"""The form of an answer that its parser expects: functions, thought, text begun in the prompt, syntax of calls."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ExpectedForm:
    """The functions declared, where the answer starts, and how its calls are written."""

    functions: Collection[str] = ()
    starts_in_thought: bool = False
    begun: str | None = None
    """The prompt ends with this text of the answer (of its thought where it starts in one), perhaps an empty one: no
    call can stand there. None where nothing is begun."""
    json_calls: bool = False
    """A call may be one object {"name": …, "arguments": …} (Rumination)."""
    lenient: bool = False
    """Arguments may be a Python dict literal: the call is marked as repaired."""
    certain: bool = False
    """A grammar makes a part that begins with a declared name a valid call: its arguments are streamed."""
    accepts: Callable[[str, dict[str, Any]], bool] | None = field(default=None, compare=False)
    """Tells whether arguments fit a function; what does not is no call, and stays text."""

    @property
    def opened(self) -> bool:
        """The answer itself is begun: neither a thought nor a call stands at its start."""
        return self.begun is not None and not self.starts_in_thought

    @property
    def begun_answer(self) -> str:
        """Text of the answer that the prompt holds."""
        return (self.begun or "") if self.opened else ""

    @property
    def begun_thought(self) -> str:
        """Text of the thought that the prompt holds."""
        return (self.begun or "") if self.starts_in_thought else ""
