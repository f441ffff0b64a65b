"""Text events without blank space at the end: it is held back until text follows."""

from __future__ import annotations

from collections.abc import Iterator

from glm_gguf.chat.events import ReasoningDelta, TextDelta


class TrimmedText:
    """The text of the answer, or of its thought."""

    def __init__(self, kind: type[TextDelta] | type[ReasoningDelta], *, empty: bool = True) -> None:
        self._kind = kind
        self._blank: list[str] = []
        self.empty = empty

    def write(self, text: str) -> Iterator[TextDelta | ReasoningDelta]:
        """Pass text on, except for the blank space at its end."""
        shown = text.rstrip()
        if not shown:
            self._blank.append(text)
            return
        blank, self._blank = "".join(self._blank), [text[len(shown) :]]
        self.empty = False
        yield self._kind(blank + shown)

    def break_line(self) -> None:
        """Let the next text begin on a new line, if any text stands before it."""
        if not self.empty and not any("\n" in text for text in self._blank):
            self._blank.append("\n")

    def drop_blank(self) -> None:
        """Drop the blank space that is held back."""
        self._blank = []

    def flush(self) -> Iterator[TextDelta | ReasoningDelta]:
        """Pass the held blank space on: the text ends."""
        blank, self._blank = "".join(self._blank), []
        if blank and not self.empty:
            yield self._kind(blank)
