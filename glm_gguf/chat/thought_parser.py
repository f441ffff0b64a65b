"""The text of one answer to events: thoughts between their tags, and the visible answer by CallParser."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from glm_gguf.chat.call_head import MOST_BLANK
from glm_gguf.chat.call_parser import CallParser
from glm_gguf.chat.events import Event, ReasoningDelta
from glm_gguf.chat.expected_form import ExpectedForm
from glm_gguf.chat.role_marks import RoleMark
from glm_gguf.chat.trimmed_text import TrimmedText
from glm_gguf.special_tokens import CLOSE_THOUGHT, OPEN_THOUGHT

PIECE = 1024
"""Characters read at once, so that many thoughts in one text take linear time."""


class ThoughtParser:
    """Turns one answer's text into events. Feed it text in any pieces, and role marks, then flush."""

    def __init__(self, form: ExpectedForm) -> None:
        self._in_thought = form.starts_in_thought
        # a thought may begin behind the prompt, `<|assistant|>` or another thought
        self._part_start = not form.begun_answer.strip()
        self._held = ""  # text that may be the beginning of a tag
        self._thought = TrimmedText(ReasoningDelta, empty=not form.begun_thought.strip())
        self._answer = CallParser(form)

    @property
    def has_calls(self) -> bool:
        """At least one call was reported."""
        return self._answer.calls > 0

    @property
    def in_thought(self) -> bool:
        """The next text belongs to the thought."""
        return self._in_thought

    @property
    def object_length(self) -> int:
        """Characters at the end of the fed text that may be an unfinished call's arguments."""
        return self._answer.object_length

    def feed(self, text: str) -> Iterator[Event]:
        """Take more text of the answer."""
        for start in range(0, len(text), PIECE):
            rest: str | None = self._held + text[start : start + PIECE]
            self._held = ""
            while rest is not None:
                rest = yield from self._advance(rest)

    def mark(self, role: RoleMark) -> Iterator[Event]:
        """Take a control token: decide the held text, and begin a new part."""
        yield from self._release_held()
        self._in_thought, self._part_start = False, True
        yield from self._answer.end_part(awaits_results=role is RoleMark.OBSERVATION)

    def flush(self) -> Iterator[Event]:
        """End the answer."""
        yield from self._release_held()
        yield from self._answer.flush()

    def _advance(self, text: str) -> Generator[Event, None, str | None]:
        """Read up to the next tag of a thought; return the text behind it, None if there is no tag."""
        if self._in_thought:
            return (yield from self._think(text))
        if self._part_start:
            return (yield from self._begin(text))
        yield from self._answer.feed(text)
        return None

    def _begin(self, text: str) -> Generator[Event, None, str | None]:
        """Enter a thought if a part begins with its tag."""
        first = text.lstrip()
        near = len(text) - len(first) <= MOST_BLANK
        if near and first.startswith(OPEN_THOUGHT):
            self._in_thought = True
            self._thought.break_line()
            return first.removeprefix(OPEN_THOUGHT)
        if near and OPEN_THOUGHT.startswith(first):
            self._held = text
        else:
            self._part_start = False
            yield from self._answer.feed(text)
        return None

    def _think(self, text: str) -> Generator[Event, None, str | None]:
        """Pass a thought on up to its closing tag, without blank space at its ends."""
        thought, tag, rest = text.partition(CLOSE_THOUGHT)
        if not tag:
            self._held = _tag_beginning(thought)
            thought = thought.removesuffix(self._held)
        yield from self._thought.write(thought.lstrip() if self._thought.empty else thought)
        if not tag:
            return None
        self._in_thought, self._part_start = False, True
        self._thought.drop_blank()
        return rest

    def _release_held(self) -> Iterator[Event]:
        """Pass on text that was held as the beginning of a tag but is none."""
        held, self._held = self._held, ""
        if self._in_thought:
            yield from self._thought.write(held)
            self._thought.drop_blank()
        else:
            yield from self._answer.feed(held)


def _tag_beginning(text: str) -> str:
    """Return the longest end of a text that begins the closing tag."""
    for length in range(min(len(CLOSE_THOUGHT) - 1, len(text)), 0, -1):
        if CLOSE_THOUGHT.startswith(text[-length:]):
            return text[-length:]
    return ""
