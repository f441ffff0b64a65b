"""Show how a model comes into the store: a bar on a terminal, lines of a log elsewhere; then its faults."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from glm_gguf.cli.conversion_view import LINE_SECONDS, print_summary, watch
from glm_gguf.cli.printable import printable, printable_line, say
from glm_gguf.cli.size_text import size_text
from glm_gguf.convert import Conversion
from glm_gguf.convert.source.hub.repository import RemoteFile, Repository
from glm_gguf.convert.writing.write import Progress as ConversionProgress
from glm_gguf.convert.writing.write import Silent
from glm_gguf.store.pull import Pulled
from glm_gguf.store.remote_models import RemoteModel


class PullView:
    """A PullWatcher that prints to stderr."""

    def __init__(self, bar: Progress | None) -> None:
        self._bar = bar
        self._task = None if bar is None else bar.add_task("", total=None, visible=False)
        self._done: dict[str, int] = {}
        self._total, self._told = 0, 0.0
        self._waited: Path | None = None

    def waits(self, path: Path) -> None:
        """Say once that another process is at it."""
        if self._waited != path:
            self._waited = path
            self._say(f"waiting      another process fetches {path.name}")

    def fetches(self, model: RemoteModel, repository: Repository) -> None:
        """Say what is fetched, from which commit."""
        parts = f" in {len(model.files)} parts" if len(model.files) > 1 else ""
        self._total = model.n_bytes
        self._say(f"source       {repository.address}, commit {repository.commit}")
        self._say(f"model        {model.stem}, {size_text(model.n_bytes)}{parts}")

    def has(self, file: RemoteFile, n_bytes: int) -> None:
        """Move the bar, or print a line every ten seconds."""
        self._done[file.name] = n_bytes
        done = sum(self._done.values())
        if self._bar is not None and self._task is not None:
            name = printable_line(Path(file.name).name)
            self._bar.update(self._task, description=name, completed=done, total=self._total, visible=True)
        elif time.monotonic() - self._told >= LINE_SECONDS or done == self._total:
            self._told = time.monotonic()
            self._say(f"fetched      {size_text(done)} of {size_text(self._total)}")

    def converts(self, conversion: Conversion, origin: str) -> AbstractContextManager[ConversionProgress]:
        """Print the plan's totals, and watch the conversion."""
        if self._bar is not None:
            self._bar.stop()
        say(f"source       {origin}")
        print_summary(conversion)
        return watch(conversion)

    def _say(self, line: str) -> None:
        if self._bar is None:
            say(line)
        else:
            self._bar.console.print(printable(line), highlight=False, markup=False, soft_wrap=True)


class QuietView:
    """A PullWatcher that prints nothing."""

    def waits(self, path: Path) -> None:
        """Print nothing."""

    def fetches(self, model: RemoteModel, repository: Repository) -> None:
        """Print nothing."""

    def has(self, file: RemoteFile, n_bytes: int) -> None:
        """Print nothing."""

    @contextmanager
    def converts(self, conversion: Conversion, origin: str) -> Iterator[ConversionProgress]:
        """Print nothing."""
        yield Silent()


@contextmanager
def pull_view() -> Iterator[PullView]:
    """Yield a view with a bar where stderr is a terminal."""
    if not sys.stderr.isatty():
        yield PullView(None)
        return
    columns = (
        TextColumn("{task.description:.40}", markup=False),
        *(BarColumn(10), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield PullView(bar)


def tell_of_faults(pulled: Pulled) -> None:
    """Print what is odd about a model, and what mends it, to stderr."""
    for finding in pulled.findings:
        say(f"{finding.severity}: {finding.what}: {finding.why}; {finding.mend}", fg="yellow")
    if pulled.newer_commit is not None:
        line = f"the hub has another version by now, commit {pulled.newer_commit}; --force fetches it"
        click.echo(line, err=True)
