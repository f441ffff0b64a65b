"""Print answers while they are generated: their text to stdout, everything else to stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import click

from glm_gguf.chat.events import (
    ChatResult,
    Event,
    Finish,
    PrefillProgress,
    ReasoningDelta,
    TextDelta,
    ToolCallCut,
    ToolCallDelta,
    ToolCallStart,
    Usage,
    collect,
)
from glm_gguf.cli.printable import say, show
from glm_gguf.errors import GlmGgufError

_CLEARED_LINE = "\r\x1b[K"  # xterm's "erase in line" (EL)
LOADING_SECONDS = 0.5
"""A faster loading is not told."""
LEAST_FOR_RATE = 16
"""Tokens from which on a rate means something: several may arrive in one step."""


@contextmanager
def loading_line() -> Iterator[Callable[[float], None]]:
    """Yield a function that shows on a terminal's stderr how much of a model is loaded, once that takes seconds."""
    begun, shown = time.perf_counter(), False

    def show(share: float) -> None:
        nonlocal shown
        if sys.stderr.isatty() and time.perf_counter() - begun > LOADING_SECONDS:
            shown = True
            click.secho(f"{_CLEARED_LINE}loading: {100 * share:.0f} %", dim=True, err=True, nl=False)

    try:
        yield show
    finally:
        if shown:
            click.echo(_CLEARED_LINE, err=True, nl=False)


def show_answer(events: Iterable[Event]) -> ChatResult:
    """Print an answer as it arrives: its text to stdout, thought (dimmed) and calls to stderr; return it whole."""
    return collect(_printed(events))


def _printed(events: Iterable[Event]) -> Iterator[Event]:
    """Pass events on and print them; end every line that was begun."""
    last: Event | None = None
    try:
        for event in events:
            _end_line(last, event)
            _print(event)
            last = event
            yield event
    except GlmGgufError:
        _end_line(last, None)
        raise


def _end_line(last: Event | None, event: Event | None) -> None:
    """End the line of the last event where another one, or an error, does not go on with it."""
    if isinstance(last, PrefillProgress) and not isinstance(event, PrefillProgress):
        click.echo(_CLEARED_LINE, err=True, nl=False)
    if isinstance(last, ReasoningDelta) and not isinstance(event, ReasoningDelta):
        click.echo(err=True)
    if isinstance(last, ToolCallStart | ToolCallDelta) and not isinstance(event, ToolCallDelta):
        click.echo(err=True)
    if isinstance(last, TextDelta) and not isinstance(event, TextDelta) and not last.text.endswith("\n"):
        click.echo()


def _print(event: Event) -> None:
    match event:
        case PrefillProgress(done, total, cached):
            told = f"{_CLEARED_LINE}prompt: {done:,} of {total:,} tokens ({100 * done // total} %), {cached:,} cached"
            click.secho(told, dim=True, err=True, nl=False)
        case TextDelta(text):
            show(text, nl=False)
        case ReasoningDelta(text):
            say(text, dim=True, nl=False)
        case ToolCallStart(_, name):
            say(f"→ {name} ", fg="cyan", nl=False)
        case ToolCallDelta(_, arguments):
            say(arguments, fg="cyan", nl=False)
        case ToolCallCut():
            click.secho("(the call was cut off and does not count)", dim=True, err=True)
        case Finish("length" | "timeout", usage):
            click.secho(f"(cut after {usage.completion_tokens} tokens)", dim=True, err=True)
        case _:
            pass


class TokenRate:
    """The rate of an answer: in the terminal's title while it is generated, and as a line after it."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._start = time.perf_counter()
        self._first: float | None = None
        self._pieces = 0

    def watch(self, events: Iterable[Event]) -> Iterator[Event]:
        """Pass events on and count them."""
        for event in events:
            if isinstance(event, PrefillProgress):
                yield event
                continue
            self._pieces += 1
            now = time.perf_counter()
            if self._first is None:
                self._first = now
            elif self._live:
                # xterm's "set window title" (OSC 0), which leaves the text alone
                click.echo(f"\x1b]0;{(self._pieces - 1) / (now - self._first):.1f} tokens/s\x07", err=True, nl=False)
            yield event

    def summary(self, usage: Usage) -> str:
        """Return the token counts of an answer and its rate, as text."""
        now = time.perf_counter()
        first = now if self._first is None else self._first
        prompt = f"{usage.prompt_tokens} tokens in, {usage.cached_tokens} of them cached"
        drafted = f", {usage.accepted_tokens} of them drafted" if usage.accepted_tokens else ""
        told = f"{prompt}; {usage.completion_tokens} out{drafted}, the first after {first - self._start:.1f} s"
        if usage.completion_tokens < LEAST_FOR_RATE or now <= first:
            return told
        return f"{told}, {(usage.completion_tokens - 1) / (now - first):.1f}/s"
