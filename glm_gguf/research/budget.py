"""What is left of the turns, tokens and time of a research."""

from __future__ import annotations

import time

from glm_gguf.research.research_events import EndedBy
from glm_gguf.research.research_options import REPORT_SHARE, ResearchOptions


class Budget:
    """Counts turns, tokens and seconds; those of an earlier process are added."""

    def __init__(self, options: ResearchOptions) -> None:
        self._options = options
        self._start = time.monotonic()
        self.turns = 0
        self.tokens = 0
        self.prompt_tokens = 0
        """Of all prompts of this process."""
        self.idle = 0
        """Turns in a row that have found nothing new."""

    @property
    def seconds(self) -> float:
        """The time that is used."""
        return time.monotonic() - self._start

    def add(self, tokens: int, *, found: bool) -> None:
        """Count a turn."""
        self.turns += 1
        self.tokens += tokens
        self.idle = 0 if found else self.idle + 1

    def add_seconds(self, seconds: float) -> None:
        """Count the time of an earlier process."""
        self._start -= seconds

    def met(self) -> EndedBy | None:
        """Return the limit that ends the research, with what the report needs kept; None if it goes on."""
        left_tokens, left_seconds = self.tokens_left(), self.seconds_left()
        if self.turns >= self._options.max_turns:
            return "turns"
        if left_tokens is not None and left_tokens < 1:
            return "tokens"
        if left_seconds is not None and left_seconds <= 0:
            return "seconds"
        return "repeats" if self.idle >= self._options.most_repeats else None

    def tokens_left(self, *, report: bool = False) -> int | None:
        """Return the tokens that are left for answers, or for the report; None without a limit."""
        most = self._options.total_tokens
        return None if most is None else int(most * (1 if report else 1 - REPORT_SHARE)) - self.tokens

    def seconds_left(self, *, report: bool = False) -> float | None:
        """Return the time that is left for answers, or for the report; None without a limit."""
        most = self._options.total_seconds
        return None if most is None else most * (1 if report else 1 - REPORT_SHARE) - self.seconds
