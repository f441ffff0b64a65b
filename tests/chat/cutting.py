"""Outputs of a model cut into tokens of any length, and fed to the parser."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from glm_gguf.chat.events import Event, Finish, ReasoningDelta, TextDelta, ToolCallDelta
from glm_gguf.chat.expected_form import ExpectedForm
from glm_gguf.chat.role_marks import RoleMark
from glm_gguf.chat.spelled_text import role_pieces
from glm_gguf.chat.thought_parser import ThoughtParser
from glm_gguf.chat.token_parser import TokenParser

MARK_IDS = {0: RoleMark.ASSISTANT, 1: RoleMark.OBSERVATION, 2: RoleMark.END}
IDS_OF_MARKS = {mark: token_id for token_id, mark in MARK_IDS.items()}
WHOLE = 1_000_000


def pieces(text: str, form: ExpectedForm) -> list[str | RoleMark]:
    """Split a spelled text at its roles, as parse_reply does."""
    scout = ThoughtParser(form)
    found = []
    for piece in role_pieces(text, scout):
        list(scout.mark(piece) if isinstance(piece, RoleMark) else scout.feed(piece))
        found.append(piece)
    return found


def feed_in_pieces(text: str, form: ExpectedForm, lengths: Iterator[int]) -> list[Event]:
    """Cut the bytes of a text into tokens of the given lengths, feed them, and return coalesced events."""
    tokens: list[bytes | RoleMark] = []
    for piece in pieces(text, form):
        if isinstance(piece, RoleMark):
            tokens.append(piece)
            continue
        rest = piece.encode()
        while rest:
            length = next(lengths)
            tokens.append(rest[:length])
            rest = rest[length:]
    table = {10 + index: token for index, token in enumerate(tokens) if isinstance(token, bytes)}
    parser = TokenParser(table.__getitem__, MARK_IDS, form)
    events: list[Event] = []
    for index, token in enumerate(tokens):
        events += parser.feed(IDS_OF_MARKS[token] if isinstance(token, RoleMark) else 10 + index)
    events += parser.flush()
    assert not any(isinstance(event, Finish) for event in events)
    return [*coalesce(events), Finish("tool_calls" if parser.has_calls else "stop")]


def repeat(length: int) -> Iterator[int]:
    while True:
        yield length


def coalesce(events: Iterable[Event]) -> Iterator[Event]:
    """Join neighbouring deltas of one kind, so that streams cut differently compare equal."""
    held: Event | None = None
    for event in events:
        joined = _join(held, event)
        if joined is None and held is not None:
            yield held
        held = event if joined is None else joined
    if held is not None:
        yield held


def _join(first: Event | None, second: Event) -> Event | None:
    """Return two deltas of the same kind and call as one; else None."""
    match first, second:
        case TextDelta(a), TextDelta(b):
            return TextDelta(a + b)
        case ReasoningDelta(a), ReasoningDelta(b):
            return ReasoningDelta(a + b)
        case ToolCallDelta(i, a), ToolCallDelta(j, b) if i == j:
            return ToolCallDelta(i, a + b)
    return None
