"""What `chat`, `run` and `demo` share: their options, and answers on the terminal while they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glm_gguf.chat.events import (
    ChatResult,
    Event,
    Finish,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    collect,
)
from glm_gguf.engine.options import EngineOptions
from glm_gguf.engine.sampling import SamplingParams

if TYPE_CHECKING:
    from glm_gguf.model import GLM


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which file to run, and how."""

    path: Path
    options: EngineOptions
    sampling: SamplingParams

    def open(self) -> GLM:
        """Load the model and tell on stderr what is wrong with its file."""
        from glm_gguf.model import GLM

        glm = GLM(self.path, options=self.options)
        for finding in glm.problems:
            click.secho(f"warning: {finding.what}: {finding.why}; {finding.mend}", err=True, fg="yellow")
        return glm


def model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the argument FILE and the options of running it; the command gets them as one ModelChoice, `choice`."""

    @click.argument("file", type=click.Path(path_type=Path))
    @click.option("--n-ctx", type=int, help="Context in tokens; by default the model's own, up to 8192.")
    @click.option("--threads", type=int, help="CPU threads; by default all.")
    @click.option("--temperature", type=float, help="0 takes the likeliest token; by default as the file advises.")
    @click.option("--seed", type=int, help="Repeat the same draws.")
    @click.option("--max-tokens", type=int, help="Most tokens of an answer.")
    @wraps(command)
    def with_choice(file: Path, n_ctx: int | None, threads: int | None, **given: Any) -> None:
        drawn = {name: given.pop(name) for name in ("temperature", "seed", "max_tokens")}
        options = EngineOptions(n_ctx=n_ctx) if threads is None else EngineOptions(n_ctx=n_ctx, threads=threads)
        command(choice=ModelChoice(file, options, SamplingParams(**drawn)), **given)

    return with_choice


def show_answer(events: Iterable[Event]) -> ChatResult:
    """Print an answer as it comes: its text to stdout, thought (dimmed) and calls to stderr; return it whole."""
    return collect(_printed(events))


def _printed(events: Iterable[Event]) -> Iterator[Event]:
    """Pass events on and print them; every line that was begun is ended."""
    last: Event | None = None
    for event in events:
        if isinstance(last, ReasoningDelta) and not isinstance(event, ReasoningDelta):
            click.echo(err=True)
        if isinstance(last, TextDelta) and not isinstance(event, TextDelta) and not last.text.endswith("\n"):
            click.echo()
        _print(event)
        last = event
        yield event


def _print(event: Event) -> None:
    match event:
        case TextDelta(text):
            click.echo(text, nl=False)
        case ReasoningDelta(text):
            click.secho(text, dim=True, err=True, nl=False)
        case ToolCallStart(_, name):
            click.secho(f"→ {name} ", fg="cyan", err=True, nl=False)
        case ToolCallDelta(_, arguments):
            click.secho(arguments, fg="cyan", err=True)
        case Finish("length", usage):
            click.secho(f"(cut after {usage.completion_tokens} tokens)", dim=True, err=True)
        case Finish():
            pass
