"""A model's output to events: on token ids where roles matter, on text everywhere else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from glm_gguf.chat.detokenizer import Detokenizer, TokenBytes
from glm_gguf.chat.events import Event
from glm_gguf.chat.expected_form import ExpectedForm
from glm_gguf.chat.thought_parser import RoleMark, ThoughtParser

DEFAULT_FORM = ExpectedForm()


class TokenParser:
    """The state of one generation: feed it token ids, the stop token's included, then flush."""

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
        """End the output; the events of what was held back."""
        yield from self._text_parser.feed(self._detokenizer.flush())
        yield from self._text_parser.flush()
