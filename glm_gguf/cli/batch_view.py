"""Show how far a batch is: a bar on a terminal, lines of a log elsewhere; then what it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from glm_gguf.batches.progress import BatchProgress
from glm_gguf.batches.result_line import LineResult
from glm_gguf.cli.conversion_view import LINE_SECONDS


class BatchView:
    """Counts results, and tells of them on stderr."""

    def __init__(self, progress: BatchProgress, bar: Progress | None) -> None:
        self.progress = progress
        self._bar = bar
        self._task = None if bar is None else bar.add_task("", total=progress.n_lines, completed=progress.n_found)
        self._told = time.monotonic()
        if progress.n_found:
            told = f"resumed      {progress.n_found:,} of {progress.n_lines:,} requests are answered already"
            click.echo(told, err=True)

    def has(self, result: LineResult) -> None:
        """Count a result; move the bar, or print a line every ten seconds."""
        self.progress.count(result)
        if self._bar is not None and self._task is not None:
            left = _left(self.progress)
            self._bar.update(self._task, completed=self.progress.n_done, description=left)
        elif time.monotonic() - self._told >= LINE_SECONDS:
            self._told = time.monotonic()
            told = ", ".join(part for part in (_counts(self.progress), _left(self.progress)) if part)
            click.echo(f"answered     {told}", err=True)


def _counts(progress: BatchProgress) -> str:
    failed = f", {progress.n_failed:,} refused" if progress.n_failed else ""
    return f"{progress.n_done:,} of {progress.n_lines:,}{failed}"


def _left(progress: BatchProgress) -> str:
    """Return the time left as text, such as 0:04:10."""
    seconds = progress.seconds_left
    return "" if seconds is None else f"{timedelta(seconds=round(seconds))} left"


@contextmanager
def batch_view(n_lines: int, n_found: int) -> Iterator[BatchView]:
    """Yield a view with a bar where stderr is a terminal."""
    progress = BatchProgress(n_lines, n_found)
    if not sys.stderr.isatty():
        yield BatchView(progress, None)
        return
    columns = (BarColumn(30), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield BatchView(progress, bar)


def print_batch_summary(progress: BatchProgress, n_failed: int, output: Path) -> None:
    """Print to stderr what was answered, and how many tokens this run computed."""
    tokens, rate = progress.tokens, progress.n_answered / max(progress.seconds, 1e-9)
    computed = tokens.prompt - tokens.cached
    click.echo(f"answered     {progress.n_answered:,} requests, {rate:,.1f} a second", err=True)
    click.echo(f"prompts      {tokens.prompt:,} tokens, {computed:,} computed and the others found", err=True)
    click.echo(f"answers      {tokens.completion:,} tokens", err=True)
    click.echo(f"output       {output}", err=True)
    if n_failed:
        line = f"warning: {n_failed:,} of {progress.n_lines:,} requests were refused: their lines have status and error"
        click.secho(line, err=True, fg="yellow")
