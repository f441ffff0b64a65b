"""What to expect of an answer before it comes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ReplyForm:
    """The functions declared, where the answer starts, and how its calls are written."""

    functions: Collection[str] = ()
    starts_in_thought: bool = False
    json_calls: bool = False
    """A call may be one object {"name": …, "arguments": …} (Rumination)."""
    lenient: bool = False
    """Arguments may be a Python dict literal: the call is marked as repaired."""
    certain: bool = False
    """A grammar makes a part that begins with a declared name a valid call: its arguments are streamed."""
    accepts: Callable[[str, dict[str, Any]], bool] | None = field(default=None, compare=False)
    """Tells whether arguments fit a function; what does not is no call, and stays text."""
