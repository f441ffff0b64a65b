"""A model's output to events: on token ids where roles matter, on text everywhere else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from glm_gguf.chat.detokenizer import Detokenizer, TokenBytes
from glm_gguf.chat.events import ChatResult, Event, Finish, collect
from glm_gguf.chat.reply_parser import ReplyForm, ReplyParser, RoleMark, role_pieces

DEFAULT_FORM = ReplyForm()


class OutputParser:
    """The state of one generation: feed it token ids, the stop token's included, then flush."""

    def __init__(
        self, token_bytes: TokenBytes, role_marks: Mapping[int, RoleMark], form: ReplyForm = DEFAULT_FORM
    ) -> None:
        self._role_marks = role_marks
        self._detokenizer = Detokenizer(token_bytes)
        self._reply = ReplyParser(form)

    @property
    def has_calls(self) -> bool:
        """At least one call was reported."""
        return self._reply.has_calls

    def feed(self, token_id: int) -> Iterator[Event]:
        """Take the next token."""
        mark = self._role_marks.get(token_id)
        if mark is None:
            yield from self._reply.feed(self._detokenizer.feed(token_id))
            return
        yield from self._reply.feed(self._detokenizer.flush())
        yield from self._reply.mark(mark)

    def flush(self) -> Iterator[Event]:
        """End the output; the events of what was held back."""
        yield from self._reply.feed(self._detokenizer.flush())
        yield from self._reply.flush()


def parse_reply(text: str, form: ReplyForm = DEFAULT_FORM) -> ChatResult:
    """Parse a whole output in which control tokens are spelled out, as logs and datasets hold it."""
    return collect(_reply_events(role_pieces(text), form))


def _reply_events(pieces: Iterable[str | RoleMark], form: ReplyForm) -> Iterator[Event]:
    parser = ReplyParser(form)
    for piece in pieces:
        yield from parser.mark(piece) if isinstance(piece, RoleMark) else parser.feed(piece)
    yield from parser.flush()
    yield Finish("tool_calls" if parser.has_calls else "stop")
