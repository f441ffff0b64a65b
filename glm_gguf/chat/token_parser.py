"""A model's output to events: roles by token id, everything else by text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from glm_gguf.chat.detokenizer import Detokenizer, TokenBytes
from glm_gguf.chat.events import Event
from glm_gguf.chat.expected_form import ExpectedForm
from glm_gguf.chat.role_marks import RoleMark
from glm_gguf.chat.thought_parser import ThoughtParser

DEFAULT_FORM = ExpectedForm()


class TokenParser:
    """Turns one generation's tokens into events. Feed it token ids, the stop token's too, then flush."""

    def __init__(
        self, token_bytes: TokenBytes, role_marks: Mapping[int, RoleMark], form: ExpectedForm = DEFAULT_FORM
    ) -> None:
        self._role_marks = role_marks
        self._detokenizer = Detokenizer(token_bytes)
        self._text_parser = ThoughtParser(form)

    @property
    def has_calls(self) -> bool:
        """At least one call was reported."""
        return self._text_parser.has_calls

    @property
    def in_thought(self) -> bool:
        """The next token belongs to the thought."""
        return self._text_parser.in_thought

    def feed(self, token_id: int) -> Iterator[Event]:
        """Take the next token."""
        mark = self._role_marks.get(token_id)
        if mark is None:
            yield from self._text_parser.feed(self._detokenizer.feed(token_id))
            return
        yield from self._text_parser.feed(self._detokenizer.flush())
        yield from self._text_parser.mark(mark)

    def flush(self) -> Iterator[Event]:
        """End the output; yield the events of held text."""
        yield from self._text_parser.feed(self._detokenizer.flush())
        yield from self._text_parser.flush()
