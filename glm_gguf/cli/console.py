"""What `chat`, `run`, `bench` and `demo` share: their options, and answers on the terminal while they are written."""

from __future__ import annotations

import sys
import time
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
    ToolCallCut,
    ToolCallDelta,
    ToolCallStart,
    Usage,
    collect,
)
from glm_gguf.engine.options import CacheType, EngineOptions, LoraAdapter
from glm_gguf.engine.sampling import SamplingParams

if TYPE_CHECKING:
    from glm_gguf.model import GLM

Decorator = Callable[[Callable[..., None]], Callable[..., None]]
CACHE_TYPES = click.Choice([type_.value for type_ in CacheType])
ENGINE_OPTIONS = (
    ("n_ctx", int, "Tokens that all conversations share; by default the model's own length, up to 8192."),
    ("n_host_cache", int, "Tokens of earlier conversations kept in main memory; by default as many as n_ctx."),
    ("n_parallel", int, "Answers written at the same time; 4 by default."),
    ("threads", int, "CPU threads; by default one a physical core."),
    ("threads_batch", int, "CPU threads for prompts; by default as many."),
    ("n_gpu_layers", int, "Layers on a GPU; by default as many as it has room for."),
    ("cache_type_k", CACHE_TYPES, "How keys are kept; f16 by default."),
    ("cache_type_v", CACHE_TYPES, "How values are kept; f16 by default."),
    ("yarn", float, "Factor by which YaRN stretches the trained length."),
)
SAMPLING_OPTIONS = (
    ("temperature", float, "0 takes the likeliest token; by default as the file advises."),
    ("top_k", int, "Draw from the k likeliest tokens."),
    ("top_p", float, "Draw from the likeliest tokens that together reach this probability."),
    ("min_p", float, "Draw from tokens at least this fraction as likely as the likeliest."),
    ("repeat_penalty", float, "Make tokens of the answer less likely; 1 is off."),
    ("seed", int, "Repeat the same draws."),
    ("max_tokens", int, "Most tokens of an answer."),
    ("thinking_budget", int, "Most tokens of a thought (GLM-Z1)."),
)
"""Field, type and help of what EngineOptions and SamplingParams offer on the command line."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which file to run, and how."""

    path: Path
    options: EngineOptions
    sampling: SamplingParams
    session: Path | None = None

    def check(self) -> None:
        """Raise GgufError for a file that cannot be loaded, without loading it."""
        from glm_gguf.gguf_file.loadable import require_loadable
        from glm_gguf.gguf_file.parts import open_all_parts

        require_loadable(open_all_parts(self.path))

    def open(self) -> GLM:
        """Load the model and tell on stderr what is wrong with its file."""
        from glm_gguf.model import GLM

        glm = GLM(self.path, session=self.session, options=self.options)
        for finding in glm.problems:
            click.secho(f"warning: {finding.what}: {finding.why}; {finding.mend}", err=True, fg="yellow")
        if glm.session_refused is not None:
            click.secho(f"warning: {glm.session_refused}", err=True, fg="yellow")
        return glm


def model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the argument FILE and the options of running it; the command gets them as one ModelChoice, `choice`."""

    @wraps(command)
    def with_choice(file: Path, session: Path | None, lora: tuple[str, ...], **given: Any) -> None:
        lists = {"lora": tuple(map(parse_adapter, lora)), "devices": given.pop("device")}
        engine = _given(given, ENGINE_OPTIONS) | lists
        for name in ("cache_type_k", "cache_type_v"):
            if name in engine:
                engine[name] = CacheType(engine[name])
        sampling = SamplingParams(**_given(given, SAMPLING_OPTIONS))
        command(choice=ModelChoice(file, EngineOptions(**engine), sampling, session), **given)

    path = click.Path(path_type=Path)
    decorators: list[Decorator] = [
        click.argument("file", type=path),
        *(_option(name, type_, help_) for name, type_, help_ in ENGINE_OPTIONS),
        click.option("--device", metavar="NAME", multiple=True, help="GPU to compute on; by default all there are."),
        click.option(
            "--lora", metavar="FILE[=SCALE]", multiple=True, help="LoRA adapter (GGUF); may be given several times."
        ),
        click.option("--session", type=path, help="Saved beginnings of conversations, to begin with."),
        *(_option(name, type_, help_) for name, type_, help_ in SAMPLING_OPTIONS),
    ]
    decorated: Callable[..., None] = with_choice
    for decorate in reversed(decorators):
        decorated = decorate(decorated)
    return decorated


def parse_adapter(text: str) -> LoraAdapter:
    """Read `adapter.gguf` or `adapter.gguf=0.5`."""
    path, equals, scale = text.rpartition("=")
    try:
        return LoraAdapter(Path(path), float(scale)) if equals else LoraAdapter(Path(text))
    except ValueError:
        return LoraAdapter(Path(text))


def _option(name: str, type_: Any, help_: str) -> Decorator:
    return click.option(f"--{name.replace('_', '-')}", name, type=type_, help=help_)


def _given(values: dict[str, Any], table: Iterable[tuple[str, Any, str]]) -> dict[str, Any]:
    """Take the options of a table out of what click found, and return those that were given."""
    taken = {name: values.pop(name) for name, _, _ in table}
    return {name: value for name, value in taken.items() if value is not None}


def show_answer(events: Iterable[Event]) -> ChatResult:
    """Print an answer as it comes: its text to stdout, thought (dimmed) and calls to stderr; return it whole."""
    return collect(_printed(events))


def _printed(events: Iterable[Event]) -> Iterator[Event]:
    """Pass events on and print them; every line that was begun is ended."""
    last: Event | None = None
    for event in events:
        if isinstance(last, ReasoningDelta) and not isinstance(event, ReasoningDelta):
            click.echo(err=True)
        if isinstance(last, ToolCallStart | ToolCallDelta) and not isinstance(event, ToolCallDelta):
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
            click.secho(arguments, fg="cyan", err=True, nl=False)
        case ToolCallCut():
            click.secho("(that call was cut off: it is none)", dim=True, err=True)
        case Finish("length" | "timeout", usage):
            click.secho(f"(cut after {usage.completion_tokens} tokens)", dim=True, err=True)
        case _:
            pass


class TokenRate:
    """How fast an answer comes: in the title of the terminal while it is written, and as a line behind it."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._start = time.perf_counter()
        self._first: float | None = None
        self._pieces = 0

    def watch(self, events: Iterable[Event]) -> Iterator[Event]:
        """Pass events on and count them."""
        for event in events:
            self._pieces += 1
            now = time.perf_counter()
            if self._first is None:
                self._first = now
            elif self._live:
                # xterm's "set window title" (OSC 0), which leaves the text alone
                click.echo(f"\x1b]0;{(self._pieces - 1) / (now - self._first):.1f} tokens/s\x07", err=True, nl=False)
            yield event

    def summary(self, usage: Usage) -> str:
        """Write the counts of an answer and its rate."""
        now = time.perf_counter()
        first = now if self._first is None else self._first
        rate = (usage.completion_tokens - 1) / (now - first) if now > first else 0.0
        prompt = f"{usage.prompt_tokens} tokens in, {usage.cached_tokens} of them cached"
        return f"({prompt}; {usage.completion_tokens} out, the first after {first - self._start:.1f} s, {rate:.1f}/s)"
