r"""The visible text of one answer to events: prose, and calls of the form `name\n{…}`.

The parser holds text back while it may become a call: a line that can be a function's name, and behind it the object up
to its last brace. It reports a call whole, or passes the text on. It streams arguments only if a grammar makes the call
certain; it takes a cut call back then (ToolCallCut).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from glm_gguf.chat.call_head import FENCE, MOST_BLANK, Head, HeadReader, NoHead
from glm_gguf.chat.events import Event, TextDelta, ToolCall, ToolCallCut, ToolCallDelta, ToolCallStart
from glm_gguf.chat.expected_form import ExpectedForm
from glm_gguf.chat.json_object import JsonObject, ObjectExtent, decode_object
from glm_gguf.chat.python_literal import decode_literal
from glm_gguf.chat.trimmed_text import TrimmedText

MOST_BREAKS = 2
BREAKS = tuple("\n" * count for count in range(MOST_BREAKS + 1))
"""Line breaks that the grammar allows before a call behind a thought."""


@dataclass(frozen=True, slots=True)
class _Whole:
    """A whole call, the first `end` characters of the held text; an undeclared one waits for the text behind it."""

    call: ToolCall
    end: int
    fenced: bool


class _Streamed:
    """A call with streamed arguments; the held text begins with its brace."""

    def __init__(self, heading: str, *, fenced: bool) -> None:
        self.heading = heading
        self.fenced = fenced
        self.extent = ObjectExtent()
        self.sent = 0


class CallParser:
    """Turns the text of one answer, behind its thought, into events. Feed it text in any pieces, then flush."""

    def __init__(self, form: ExpectedForm) -> None:
        self._functions = frozenset(form.functions)
        self._form = form
        self._heads = HeadReader(form.functions, json_calls=form.json_calls)
        self._held = ""
        begun = form.begun_answer.strip()
        self._prose = TrimmedText(TextDelta, empty=not begun)
        self._line_start = not begun or form.begun_answer.endswith("\n")
        self._part_start = (
            not begun
        )  # this part has no text yet; parts begin behind the prompt, `<|assistant|>` or a call
        self._dropped = "\n" if form.opened else ""  # line breaks dropped at the start of this part, or in the prompt
        self._fence_open = False  # the last call's fence may close now
        self._fence_left = False  # the fence was not closed: another call may follow in it
        self._object: tuple[Head, ObjectExtent] | None = None
        self._undecided: _Whole | None = None
        self._streamed: _Streamed | None = None
        self.calls = 0

    @property
    def object_length(self) -> int:
        """Characters of an open object that may be a call's arguments; 0 if there is none."""
        if self._streamed is not None:
            return len(self._held)
        return 0 if self._object is None else len(self._held) - self._object[0].end

    def feed(self, text: str) -> Iterator[Event]:
        """Take more text."""
        self._held += text
        yield from self._advance(final=False)

    def end_part(self, *, awaits_results: bool) -> Iterator[Event]:
        """End a part at a control token; before `<|observation|>` an undeclared call counts."""
        if awaits_results and self._undecided is not None:
            yield from self._report(self._undecided)
        yield from self._advance(final=True)
        self._start_part()

    def flush(self) -> Iterator[Event]:
        """End the answer: held text is no call."""
        yield from self._advance(final=True)
        yield from self._prose.flush()

    def _start_part(self) -> None:
        self._line_start = self._part_start = True
        self._dropped = ""
        self._fence_open = False

    def _advance(self, *, final: bool) -> Iterator[Event]:
        """Decide as much of the held text as possible; all of it if `final`."""
        before = -1
        while self._held and len(self._held) != before:
            before = len(self._held)
            if self._fence_open:
                self._close_fence(final=final)
            if self._part_start and not self._fence_open:
                self._drop_blank_lines()
            if not self._fence_open and (self._held.strip() or not self._part_start or len(self._held) > MOST_BLANK):
                yield from self._step(final=final)
        if final:
            self._held = ""

    def _drop_blank_lines(self) -> None:
        """Drop the line breaks at the start of a part, not the indentation of its first line."""
        blank = len(self._held) - len(self._held.lstrip())
        start = self._held.rfind("\n", 0, blank) + 1
        self._dropped = (self._dropped + self._held[:start])[: MOST_BREAKS + 1]
        self._held = self._held[start:]

    def _step(self, *, final: bool) -> Iterator[Event]:
        """Release a line, follow an object, or hold the text while it can be either."""
        if self._streamed is not None:
            yield from self._stream(self._streamed, final=final)
        elif self._undecided is not None:
            yield from self._settle(self._undecided, final=final)
        elif not self._line_start:
            yield from self._release_line()
        else:
            yield from self._read_line(final=final)

    def _read_line(self, *, final: bool) -> Iterator[Event]:
        head = self._heads.read(self._held)
        if isinstance(head, Head):
            yield from self._follow(head, final=final)
        elif final or head is NoHead.EVER:
            yield from self._release_line()

    def _follow(self, head: Head, *, final: bool) -> Iterator[Event]:
        """Follow the object behind a head to its end, and decide whether it is a call."""
        if head.name in self._functions and self._is_certain(head):
            yield from self._begin_stream(head.name or "", head)
            return
        head, extent = self._object = self._object or (head, ObjectExtent())
        length = extent.find_end(self._held[head.end :])
        if length is None:
            if final:
                yield from self._release(len(self._held))
            return
        end = head.end + length
        call = self._call(head.name, self._held[head.end : end])
        if call is None:
            yield from self._release(end)
        elif call.declared or self._stands_alone(head):
            yield from self._report(_Whole(call, end, head.fenced))
        else:
            self._object = None
            self._undecided = _Whole(call, end, head.fenced)
            yield from self._settle(self._undecided, final=final)

    def _stands_alone(self, head: Head) -> bool:
        """Tell whether a head stands where only a call can: at the start of the output or behind `<|assistant|>`."""
        return self._part_start and not self._dropped and not head.fenced and head.name is not None

    def _is_certain(self, head: Head) -> bool:
        """Tell whether the grammar wrote this head; it did not write heads further down in free text.

        Behind a thought the grammar forbids free text that begins like a call: line breaks, then a declared name.
        """
        if not self._form.starts_in_thought:
            return self._form.certain and self._stands_alone(head)
        written = (
            self._part_start and self._held.startswith(f"{head.name}\n{{") and head.end == len(head.name or "") + 1
        )
        return self._form.certain and written and self._dropped in BREAKS

    def _call(self, name: str | None, text: str) -> ToolCall | None:
        """Return the call in an object: arguments behind a name, or Rumination's form; None for no call."""
        decoded, repaired = decode_object(text), False
        if decoded is None and self._form.lenient:
            decoded, repaired = decode_literal(text), True
        if decoded is None:
            return None
        if name is None:
            return self._json_call(decoded, repaired=repaired)
        if self._form.accepts is not None and not self._form.accepts(name, decoded.value):
            return None
        return ToolCall(name, decoded.text, name in self._functions, repaired)

    def _json_call(self, decoded: JsonObject, *, repaired: bool) -> ToolCall | None:
        match decoded.value:
            case {"name": str(name), "arguments": dict(arguments), **others} if name.strip() and not others:
                written = json.dumps(arguments, ensure_ascii=False)
                return ToolCall(name.strip(), written, name.strip() in self._functions, repaired)
        return None

    def _settle(self, undecided: _Whole, *, final: bool) -> Iterator[Event]:
        """Pass an undeclared call on as text if more than its fence follows it."""
        rest = self._held[undecided.end :].strip()
        if undecided.fenced:
            rest = "" if FENCE.startswith(rest) else rest.removeprefix(FENCE).strip()
        if final or rest:
            yield from self._release(undecided.end)

    def _report(self, whole: _Whole) -> Iterator[Event]:
        """Report a call, and drop its text and the blank space around it."""
        call = whole.call
        yield ToolCallStart(self.calls, call.name, call.declared, call.repaired)
        yield ToolCallDelta(self.calls, call.arguments)
        self._end_call(whole.end, fenced=whole.fenced)

    def _end_call(self, end: int, *, fenced: bool) -> None:
        self._undecided = self._object = self._streamed = None
        self._held = self._held[end:]
        self._prose.drop_blank()
        self._start_part()
        self._fence_open, self._fence_left = fenced or self._fence_left, False
        self.calls += 1

    def _close_fence(self, *, final: bool) -> None:
        """Drop the closing fence behind a call; anything else there is text."""
        rest = self._held.lstrip()
        if rest.startswith(FENCE):
            self._held = rest.removeprefix(FENCE)
            self._fence_open = False
        elif final or not FENCE.startswith(rest):
            self._fence_open, self._fence_left = False, True

    def _begin_stream(self, name: str, head: Head) -> Iterator[Event]:
        """Begin a call that a grammar makes certain."""
        self._streamed = _Streamed(self._held[: head.end], fenced=head.fenced)
        self._held = self._held[head.end :]
        yield ToolCallStart(self.calls, name)
        yield from self._stream(self._streamed, final=False)

    def _stream(self, streamed: _Streamed, *, final: bool) -> Iterator[Event]:
        """Pass on the new text of a certain call's arguments; a cut call becomes text."""
        end = streamed.extent.find_end(self._held)
        upto = len(self._held) if end is None else end
        if upto > streamed.sent:
            yield ToolCallDelta(self.calls, self._held[streamed.sent : upto])
            streamed.sent = upto
        if end is not None:
            self._end_call(end, fenced=streamed.fenced)
        elif final:
            yield ToolCallCut(self.calls)
            self._held = streamed.heading + self._held
            self._streamed = None
            yield from self._release(len(self._held))

    def _release_line(self) -> Iterator[Event]:
        yield from self._release(self._held.find("\n") + 1 or len(self._held))

    def _release(self, end: int) -> Iterator[Event]:
        """Pass the first `end` held characters on as text."""
        self._fence_left = False
        self._undecided = self._object = None
        text, self._held = self._held[:end], self._held[end:]
        if self._part_start:
            self._prose.break_line()
        self._part_start = False
        self._line_start = text.endswith("\n")
        yield from self._prose.write(text)
