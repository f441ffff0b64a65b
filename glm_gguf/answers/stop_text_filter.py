"""Texts at which the visible answer ends: what may become one is held back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from glm_gguf.chat.events import Event, TextDelta


class StopTextFilter:
    """A filter over the events of one answer; `found` is the stop text that came, which ends the answer before it."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.found: str | None = None

    def feed(self, event: Event) -> Iterator[Event]:
        """Pass an event on, text only as far as no stop text can begin in it."""
        if self.found is not None:
            return
        if not isinstance(event, TextDelta):
            yield from self.flush()
            yield event
            return
        text, self._held = self._held + event.text, ""
        end, self.found = min(((at, stop) for stop in self._stops if (at := text.find(stop)) >= 0), default=(-1, None))
        if self.found is None:
            end = len(text) - self._beginning(text)
            self._held = text[end:]
        if end:
            yield TextDelta(text[:end])

    def flush(self) -> Iterator[Event]:
        """Pass on what was held and became no stop text."""
        held, self._held = self._held, ""
        if held and self.found is None:
            yield TextDelta(held)

    def _beginning(self, text: str) -> int:
        """Return the length of the longest end of a text that is the beginning of a stop text."""
        longest = max(map(len, self._stops), default=0) - 1
        lengths = range(min(longest, len(text)), 0, -1)
        return next((n for n in lengths if any(stop.startswith(text[-n:]) for stop in self._stops)), 0)
