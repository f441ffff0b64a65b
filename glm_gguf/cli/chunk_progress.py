"""How far a measurement is, with the time left: a bar on a terminal, else lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_SECONDS: Final = 10.0
"""Between two lines."""


class ChunkView(Protocol):
    """Shows how many chunks of text, or requests, are done."""

    def __call__(self, n_done: int, n_all: int) -> None:
        """Show it; the first call tells what an interrupted run had done."""


class Lines:
    """A line at the beginning, one every ten seconds, and one at the end."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._begun: tuple[float, int] | None = None
        self._told = 0.0

    def __call__(self, n_done: int, n_all: int) -> None:
        """Print a line where it is time for one."""
        now = time.monotonic()
        if self._begun is None:
            self._begun = now, n_done
        elif n_done < n_all and now - self._told < LINE_SECONDS:
            return
        start, before = self._begun
        left = (
            "" if n_done in (before, n_all) else f", {_time((now - start) / (n_done - before) * (n_all - n_done))} left"
        )
        self._told = now
        click.echo(f"{self._what}: {n_done} of {n_all}{left}", err=True)


class Bar:
    """A bar with chunks and the time left."""

    def __init__(self, what: str, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task(what, total=None)

    def __call__(self, n_done: int, n_all: int) -> None:
        """Move the bar; the first call begins it."""
        self._bar.update(self._task, completed=n_done, total=n_all)


@contextmanager
def chunk_progress(what: str) -> Iterator[ChunkView]:
    """Yield a view of a measurement that is called `what`."""
    if not sys.stderr.isatty():
        yield Lines(what)
        return
    columns = TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield Bar(what, bar)


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes // 60} h {minutes % 60} min"
        if minutes >= 60
        else f"{minutes} min {rest} s"
        if minutes
        else f"{rest} s"
    )
