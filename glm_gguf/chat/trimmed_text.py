"""Running text on its way out: blank space is held back until text follows it."""

from __future__ import annotations

from collections.abc import Iterator

from glm_gguf.chat.events import ReasoningDelta, TextDelta


class TrimmedText:
    """Text of one kind, the answer's or the thought's."""

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
        """Let what comes next begin on a new line, if anything stands before it."""
        if not self.empty and not any("\n" in text for text in self._blank):
            self._blank.append("\n")

    def drop_blank(self) -> None:
        """Forget the blank space that was held back."""
        self._blank = []

    def flush(self) -> Iterator[TextDelta | ReasoningDelta]:
        """Pass the blank space on as well: nothing follows."""
        blank, self._blank = "".join(self._blank), []
        if blank and not self.empty:
            yield self._kind(blank)
