"""What `glm-gguf research` shows: the trail on standard error, the report and its sources on standard output."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from glm_gguf.chat.events import ReasoningDelta, TextDelta
from glm_gguf.cli.printable import say, show
from glm_gguf.research.document_text import KINDS
from glm_gguf.research.folder_index import IndexUpdate
from glm_gguf.research.research_events import (
    CallFailed,
    Note,
    Opened,
    Report,
    ReportStarted,
    ResearchEvent,
    Searched,
    TurnStarted,
)

if TYPE_CHECKING:
    from glm_gguf.research.research_events import EndedBy

ENDINGS: Final[dict[EndedBy, str]] = {
    "finish": "the model has found enough",
    "answer": "the model answered without a call",
    "turns": "the turns are used up",
    "tokens": "the tokens are used up",
    "seconds": "the time is used up",
    "repeats": "the last turns found nothing new",
    "context": "the context is full",
}
SHOWN_FAULTS: Final = 10


def show_update(path: Path, update: IndexUpdate) -> None:
    """Tell how many documents a folder has, and name those that could not be read, or a folder without any."""
    total = update.added + update.changed + update.unchanged
    count = "1 document" if total == 1 else f"{total:,} documents"
    changes = f"{update.added} new, {update.changed} changed, {update.removed} gone"
    click.secho(f"{path}: {count} ({changes})", dim=True, err=True)
    for name, why in update.unread[:SHOWN_FAULTS]:
        say(f"warning: {name} is not read: {why}", fg="yellow")
    if len(update.unread) > SHOWN_FAULTS:
        click.secho(f"warning: {len(update.unread) - SHOWN_FAULTS} more are not read", err=True, fg="yellow")
    if len(update.unread) == total:
        say(f"warning: {path} holds nothing that can be read: {', '.join(KINDS)}", fg="yellow")


def show_research(events: Iterable[ResearchEvent], *, quiet: bool, thoughts: bool) -> Report:
    """Show a research as it goes on, and return its report; a `quiet` one prints no report."""
    view = _View(thoughts)
    for event in events:
        if isinstance(event, Report):
            view.end_thought()
            if not quiet:
                _show_end(event, streamed=view.streamed)
            return event
        if not (quiet and isinstance(event, TextDelta)):
            view.show(event)
    raise AssertionError("the last event is the report")


class _View:
    """The trail; a thought is told by its length, or printed dimmed."""

    def __init__(self, thoughts: bool) -> None:
        self._thoughts = thoughts
        self._thought = 0
        self.streamed = False

    def show(self, event: ResearchEvent) -> None:
        """Show one event."""
        if isinstance(event, ReasoningDelta):
            self._thought += len(event.text)
            if self._thoughts:
                say(event.text, dim=True, nl=False)
            return
        self.end_thought()
        match event:
            case TurnStarted(number):
                click.secho(f"turn {number}", bold=True, err=True)
            case Note(text):
                say(f"  {text}", dim=True)
            case Searched(query, hits):
                say(f"  search: {query}  ({len(hits)} hits)", fg="cyan")
            case Opened(title, address, part, parts):
                which = f", part {part} of {parts}" if parts > 1 else ""
                say(f"  open: {title}  ({address}{which})", fg="cyan")
            case CallFailed(_, error):
                say(f"  failed: {error}", fg="yellow")
            case ReportStarted(ended_by):
                click.secho(f"report: {ENDINGS[ended_by]}", bold=True, err=True)
            case TextDelta(text):
                self.streamed = True
                show(text, nl=False)
            case _:
                pass

    def end_thought(self) -> None:
        """End the line of a thought, or tell its length."""
        if self._thought:
            told = "" if self._thoughts else f"  thought: {self._thought:,} characters"
            click.secho(told, dim=True, err=True)
        self._thought = 0


def _show_end(report: Report, *, streamed: bool) -> None:
    """Print the sources, and the report itself where an earlier process has written it."""
    show("" if streamed else report.text)
    if report.sources:
        click.echo("\n## Sources\n")
        for source in report.sources:
            show(f"{source.number}. {source.title}: {source.address}")
    if not report.complete:
        click.secho("warning: the report was cut by a limit", err=True, fg="yellow")
