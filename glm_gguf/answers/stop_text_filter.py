"""Find the texts at which the visible answer ends, and hold back what may become one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from glm_gguf.chat.events import Event, TextDelta


class StopTextFilter:
    """A filter over the events of one answer; `found` is the stop text that ended it and is not part of it."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.found: str | None = None

    def feed(self, event: Event) -> Iterator[Event]:
        """Yield an event; of a text, only the part in which no stop text can begin."""
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
        """Yield the held text, which became no stop text."""
        held, self._held = self._held, ""
        if held and self.found is None:
            yield TextDelta(held)

    def _beginning(self, text: str) -> int:
        """Return the length of the longest suffix of a text that is a prefix of a stop text."""
        longest = max(map(len, self._stops), default=0) - 1
        lengths = range(min(longest, len(text)), 0, -1)
        return next((n for n in lengths if any(stop.startswith(text[-n:]) for stop in self._stops)), 0)
