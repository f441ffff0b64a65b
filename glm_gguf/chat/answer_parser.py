r"""The visible text of one answer to events: prose, and calls of the form `name\n{…}`.

What may still become a call is held back: a line that can be a function's name, and behind it the object up to its
last brace. A call is reported whole or not at all; what turns out not to be one is passed on as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from glm_gguf.chat.events import Event, TextDelta, ToolCall, ToolCallDelta, ToolCallStart
from glm_gguf.chat.json_object import JsonObject, ObjectExtent, decode_object, may_begin_object
from glm_gguf.chat.prose import Prose

_UNDECLARED_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
"""A name that a model may call though it was not declared: OpenAI's alphabet and length, and dots."""


@dataclass(frozen=True, slots=True)
class _Head:
    """What stands before an object: a name (None in Rumination's form), and the offset of the brace."""

    name: str | None
    end: int


@dataclass(frozen=True, slots=True)
class _Undecided:
    """A whole call of an undeclared function, `end` characters of the held text: what follows decides."""

    call: ToolCall
    end: int


class AnswerParser:
    """The state of an answer behind its thought; `functions` are the names declared."""

    def __init__(self, functions: Collection[str], *, json_calls: bool) -> None:
        self._functions = frozenset(functions)
        self._json_calls = json_calls
        self._held = ""
        self._prose = Prose(TextDelta)
        self._line_start = True
        self._part_start = True  # no text yet in this part: behind the prompt, `<|assistant|>` or a call
        self._line_broken = False  # a blank line was dropped at the start of this part
        self._extent: ObjectExtent | None = None
        self._undecided: _Undecided | None = None
        self.calls = 0

    def feed(self, text: str) -> Iterator[Event]:
        """Take more text."""
        self._held += text
        yield from self._advance(final=False)

    def end_part(self, *, awaits_results: bool) -> Iterator[Event]:
        """End a part at a control token; `<|observation|>` makes a call of what could be one by its form."""
        if awaits_results and self._undecided is not None:
            yield from self._report(self._undecided.call, self._undecided.end)
        yield from self._advance(final=True)
        self._start_part()

    def flush(self) -> Iterator[Event]:
        """End the answer: what is still held was no call."""
        yield from self._advance(final=True)
        yield from self._prose.flush()

    def _start_part(self) -> None:
        self._line_start = self._part_start = True
        self._line_broken = False

    def _advance(self, *, final: bool) -> Iterator[Event]:
        """Decide as much of the held text as can be decided; all of it where `final`."""
        before = -1
        while self._held and len(self._held) != before:
            before = len(self._held)
            if self._part_start:
                self._drop_blank_lines()
            if self._held.strip() or not self._part_start:
                yield from self._step(final=final)
        if final:
            self._held = ""

    def _drop_blank_lines(self) -> None:
        """Drop the line breaks a part begins with, not the indentation of its first line."""
        blank = len(self._held) - len(self._held.lstrip())
        start = self._held.rfind("\n", 0, blank) + 1
        self._line_broken = self._line_broken or start > 0
        self._held = self._held[start:]

    def _step(self, *, final: bool) -> Iterator[Event]:
        """Release a line, follow an object, or leave the text as it is where it can be both."""
        if self._undecided is not None:
            yield from self._settle(self._undecided, final=final)
        elif not self._line_start:
            yield from self._release_line()
        elif (head := self._head()) is not None:
            yield from self._follow(head, final=final)
        elif final or not self._may_become_head():
            yield from self._release_line()

    def _head(self) -> _Head | None:
        """Read the line of a name and the brace below it, or Rumination's brace alone."""
        if self._json_calls and may_begin_object(self._held):
            return _Head(None, 0)
        line, newline, rest = self._held.partition("\n")
        rest = rest.lstrip()
        if not newline or not self._is_name(line.rstrip()) or not may_begin_object(rest):
            return None
        return _Head(line.rstrip(), len(self._held) - len(rest))

    def _may_become_head(self) -> bool:
        """Tell whether more text can turn what is held into the head of a call."""
        line, newline, rest = self._held.partition("\n")
        name = line.rstrip()
        if newline:
            return self._is_name(name) and not rest.strip()
        if name == line and any(function.startswith(name) for function in self._functions):
            return True
        return not name or self._is_name(name)

    def _is_name(self, line: str) -> bool:
        return line in self._functions or _UNDECLARED_NAME.fullmatch(line) is not None

    def _follow(self, head: _Head, *, final: bool) -> Iterator[Event]:
        """Follow the object behind a head to its end, and decide whether it is a call."""
        self._extent = self._extent or ObjectExtent()
        length = self._extent.find_end(self._held[head.end :])
        if length is None:
            if final:
                yield from self._release(len(self._held))
            return
        end = head.end + length
        decoded = decode_object(self._held[head.end : end])
        call = None if decoded is None else _call(head.name, decoded)
        if call is None:
            yield from self._release(end)
        elif call.name in self._functions or (self._part_start and not self._line_broken and head.name is not None):
            yield from self._report(call, end)
        else:
            self._undecided = _Undecided(call, end)
            yield from self._settle(self._undecided, final=final)

    def _settle(self, undecided: _Undecided, *, final: bool) -> Iterator[Event]:
        """Pass an undeclared call on as text once anything but `<|observation|>` follows it."""
        if final or self._held[undecided.end :].strip():
            yield from self._release(undecided.end)

    def _report(self, call: ToolCall, end: int) -> Iterator[Event]:
        """Report a call and drop its text, the first `end` characters held, with the blank space on both sides."""
        self._undecided = self._extent = None
        self._held = self._held[end:]
        self._prose.drop_blank()
        self._start_part()
        yield ToolCallStart(self.calls, call.name)
        yield ToolCallDelta(self.calls, call.arguments)
        self.calls += 1

    def _release_line(self) -> Iterator[Event]:
        yield from self._release(self._held.find("\n") + 1 or len(self._held))

    def _release(self, end: int) -> Iterator[Event]:
        """Pass the first `end` characters held on as text."""
        self._undecided = self._extent = None
        text, self._held = self._held[:end], self._held[end:]
        if self._part_start:
            self._prose.break_line()
        self._part_start = False
        self._line_start = text.endswith("\n")
        yield from self._prose.write(text)


def _call(name: str | None, decoded: JsonObject) -> ToolCall | None:
    """Return the call that an object is: arguments behind a name, or Rumination's {"name", "arguments"}."""
    if name is not None:
        return ToolCall(name, decoded.text)
    match decoded.value:
        case {"name": str(function), "arguments": dict(arguments), **others} if not others:
            return ToolCall(function, json.dumps(arguments, ensure_ascii=False))
    return None
