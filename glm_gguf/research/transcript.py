"""The transcript of a research: JSON lines, one for each turn, from which an interrupted research goes on.

A line is on the disk before the next turn begins. A line that a crash has cut is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

from glm_gguf.appended_lines import AppendedLines, whole_lines
from glm_gguf.chat.events import ToolCall
from glm_gguf.errors import RequestError
from glm_gguf.research.corpus import Hit
from glm_gguf.research.research_events import CallFailed, LookUp, Opened, Report, Searched, Source
from glm_gguf.whole_json import whole_json

T = TypeVar("T")
VERSION: Final = 1
MOST_BYTES: Final = 2**28


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer of a research: its text and thought, its call, and what the model read of the call's result."""

    thought: str
    content: str
    call: ToolCall | None
    observation: str
    event: LookUp
    tokens: int
    seconds: float
    """Of the research up to the end of this turn."""


class Transcript:
    """The file of one research; `turns` and `report` are what an earlier process has written."""

    def __init__(self, path: Path, question: str) -> None:
        self.path = path
        self.turns: list[Turn] = []
        self.report: Report | None = None
        whole = whole_lines(path, MOST_BYTES)
        self._read(whole.decode("utf-8", "replace").splitlines(), question)
        self._file = AppendedLines(path, len(whole))
        if not whole:
            self._write({"research": VERSION, "question": question})

    def add(self, turn: Turn) -> None:
        """Write a turn."""
        self.turns.append(turn)
        call = None if turn.call is None else {"name": turn.call.name, "arguments": turn.call.arguments}
        kind = type(turn.event).__name__
        self._write({**asdict(turn), "call": call, "event": {"kind": kind, **asdict(turn.event)}})

    def end(self, report: Report) -> None:
        """Write the report."""
        self._write({"report": asdict(report)})

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(line, flush_to_disk=True)

    def _read(self, lines: Sequence[str], question: str) -> None:
        for number, line in enumerate(lines, 1):
            try:
                self._take(whole_json(line), question, first=number == 1)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                fix = "name another file; a new one begins a new research"
                raise RequestError(
                    "this is no line of a research", path=self.path, where=f"line {number}", fix=fix
                ) from error

    def _take(self, values: dict[str, Any], question: str, *, first: bool) -> None:
        """Take one line; ValueError, KeyError or TypeError for one of another form."""
        if first:
            if values["research"] != VERSION:
                raise ValueError(values["research"])
            if values["question"] != question:
                fix = "ask that question again, or name another file"
                raise RequestError(f"it asks another question: {values['question']!r}", path=self.path, fix=fix)
        elif "report" in values:
            sources = tuple(_made(Source, source) for source in values["report"].pop("sources"))
            self.report = _made(Report, values["report"], sources=sources)
        else:
            call = values.pop("call")
            event = _event(values.pop("event"))
            self.turns.append(_made(Turn, values, call=None if call is None else _made(ToolCall, call), event=event))


def _event(values: dict[str, Any]) -> LookUp:
    kind = values.pop("kind")
    if kind == "Searched":
        hits = tuple(_made(Hit, hit) for hit in values.pop("hits"))
        return _made(Searched, values, hits=hits)
    others: dict[str, type[Opened] | type[CallFailed]] = {"Opened": Opened, "CallFailed": CallFailed}
    return _made(others[kind], values)


def _made(kind: type[T], values: dict[str, Any], **parts: Any) -> T:
    """Make a value of plain members and made parts; KeyError or TypeError for members that it does not have."""
    hints = get_type_hints(kind)
    for name, value in values.items():
        hint = int | float if hints[name] is float else hints[name]
        if not (value in get_args(hint) if get_origin(hint) is Literal else isinstance(value, hint)):
            raise TypeError(name)
    return kind(**values, **parts)


def closed(transcript: Transcript | None) -> None:
    """Close a transcript, if there is one."""
    if transcript is not None:
        with suppress(OSError):
            transcript.close()
