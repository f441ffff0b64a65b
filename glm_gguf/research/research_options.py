"""What a research may use: turns, tokens, time, and how much of a page is read at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from glm_gguf.errors import RequestError

Language = Literal["en", "zh"]
REPORT_SHARE: Final = 0.2
"""Share of tokens and time that is kept for the report."""


@dataclass(frozen=True, slots=True)
class ResearchOptions:
    """The limits of a research, and its languages."""

    max_turns: int = 35
    """Answers before the report, as on Rumination's model card."""
    total_tokens: int | None = None
    """Tokens of all answers together; a fifth is kept for the report."""
    total_seconds: float | None = None
    """Time of all; a fifth is kept for the report."""
    answer_tokens: int = 16384
    """Tokens of one answer, as on the model card."""
    most_hits: int = 10
    page_characters: int = 16000
    """Characters of a page that are shown at once; the model may open the next part."""
    most_repeats: int = 3
    """Turns in a row without anything new, by repeated or failed calls, after which the report is written."""
    search_language: Language | None = None
    """Language of queries; by default the prompt's own, which is English."""
    thinking_language: Language | None = None

    def __post_init__(self) -> None:
        for name in ("max_turns", "total_tokens", "total_seconds", "answer_tokens", "most_hits", "most_repeats"):
            value = getattr(self, name)
            kind = int | float if name == "total_seconds" else int
            is_open = value is None and name in ("total_tokens", "total_seconds")
            if not is_open and (isinstance(value, bool) or not isinstance(value, kind) or not value > 0):
                raise RequestError(f"{value!r} makes no sense", field=name, fix="give a positive number")
        if not isinstance(self.page_characters, int) or self.page_characters < 1000:
            raise RequestError(
                f"{self.page_characters!r} is too small", field="page_characters", fix="give at least 1000"
            )
        for name in ("search_language", "thinking_language"):
            value = getattr(self, name)
            if value is not None and value not in get_args(Language):
                raise RequestError(f"{value!r} is no language of a prompt", field=name, fix="give en or zh")
