"""What a research tells while it goes on, and the report at its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from glm_gguf.chat.events import PrefillProgress, ReasoningDelta, TextDelta, Usage
from glm_gguf.research.corpus import Hit

EndedBy = Literal["finish", "answer", "turns", "tokens", "seconds", "repeats", "context", "search"]
"""Why the report was written: the model said so, answered without a call, or met a budget or the end of the context; or
one search alone was asked for."""


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """The model begins an answer; `number` counts from 1."""

    number: int


@dataclass(frozen=True, slots=True)
class Writing:
    """The model writes on. The text is held back, for it may be a call; whoever closes the iterator here stops it."""


@dataclass(frozen=True, slots=True)
class AnswerEnded:
    """An answer of the model is over, a turn's or the report's; closing the iterator later loses no count of it."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class Note:
    """Text that the model wrote before a call."""

    text: str


@dataclass(frozen=True, slots=True)
class Searched:
    """A search, and what it found."""

    query: str
    hits: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class Opened:
    """A page that was opened; `part` of `parts` was shown to the model."""

    title: str
    address: str
    part: int = 1
    parts: int = 1


@dataclass(frozen=True, slots=True)
class CallFailed:
    """A call without a result: malformed, unknown, repeated, or of what cannot be searched or opened."""

    call: str
    error: str
    query: str | None = None
    """What it searches for, if it is a search."""
    address: str | None = None
    """The page that it opens, if it opens one."""


@dataclass(frozen=True, slots=True)
class ReportStarted:
    """The report begins: the TextDelta events that follow are its text."""

    ended_by: EndedBy


@dataclass(frozen=True, slots=True)
class Source:
    """A page that the model has opened; sources are numbered from 1 in the order of their first opening."""

    number: int
    title: str
    address: str


@dataclass(frozen=True, slots=True)
class Report:
    """The report of a research."""

    question: str
    text: str
    sources: tuple[Source, ...]
    ended_by: EndedBy
    turns: int
    tokens: int
    """Tokens of all answers."""
    complete: bool
    """False if a budget or the context cut the report."""
    prompt_tokens: int = field(default=0, compare=False)
    """Tokens of all prompts of this process; most of each are those of the one before."""

    @property
    def limited(self) -> bool:
        """Whether the tokens or the time ended the research, or a limit cut the report."""
        return not self.complete or self.ended_by in ("tokens", "seconds")


LookUp = Searched | Opened | CallFailed
ResearchEvent = (
    TurnStarted
    | PrefillProgress
    | ReasoningDelta
    | Writing
    | AnswerEnded
    | Note
    | Searched
    | Opened
    | CallFailed
    | ReportStarted
    | TextDelta
    | Report
)
"""What `Research.stream` yields; the last is the Report."""
