"""`glm-gguf run`: answer prompts and exit."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from glm_gguf.chat.events import ChatResult, Event, collect
from glm_gguf.cli.console import ModelChoice, model_options, show_answer

if TYPE_CHECKING:
    from glm_gguf.model import GLM

SHOWN = ("content", "reasoning", "tool_calls", "finish_reason", "usage")
"""Fields of an answer that are printed as JSON."""
AHEAD = 64
"""Prompts given to the model before the first answer is shown."""


@click.command(name="run")
@model_options
@click.argument("prompts", nargs=-1, metavar="[PROMPT]...")
@click.option("--system", help="What the model is told before every prompt.")
@click.option("--json", "as_json", is_flag=True, help="Print whole answers as JSON: one object, or one a line.")
@click.option("--lines", is_flag=True, help="Every line of standard input is a prompt.")
def command(choice: ModelChoice, prompts: tuple[str, ...], system: str | None, as_json: bool, lines: bool) -> None:
    """Answer each PROMPT with the model in FILE and exit.

    A prompt that is `-`, or missing while something is piped in, is read from standard input. Several prompts are
    answered at the same time and shown in order. Answers go to standard output, thoughts to standard error.
    """
    texts = _prompts(prompts, lines=lines)
    with choice.open() as glm:
        for number, events in enumerate(_answers(glm, texts, system, choice)):
            if as_json:
                click.echo(json.dumps(_as_json(collect(events)), ensure_ascii=False, indent=_indent(texts)))
                continue
            if len(texts) > 1:
                click.secho(f"{chr(10) if number else ''}# {texts[number]}", dim=True, err=True)
            show_answer(events)


def _answers(glm: GLM, texts: Sequence[str], system: str | None, choice: ModelChoice) -> Iterator[Iterator[Event]]:
    """Have prompts answered side by side, and yield the answers in order."""
    before = [{"role": "system", "content": system}] if system else []
    under_way: deque[Iterator[Event]] = deque()
    for text in texts:
        under_way.append(glm.stream([*before, {"role": "user", "content": text}], sampling=choice.sampling))
        if len(under_way) == AHEAD:
            yield under_way.popleft()
    yield from under_way


def _prompts(given: Sequence[str], *, lines: bool) -> list[str]:
    """Return the prompts, read from stdin where they were piped in."""
    stdin = sys.stdin
    if lines:
        return [*given, *(line.rstrip("\r\n") for line in stdin if line.strip())]
    if not given and stdin.isatty():
        raise click.UsageError("no prompt: give one, or pipe one in")
    return [stdin.read() if prompt == "-" else prompt for prompt in given or ["-"]]


def _indent(texts: Sequence[str]) -> int | None:
    """One answer is shown for reading, several as lines for programs."""
    return 2 if len(texts) == 1 else None


def _as_json(result: ChatResult) -> dict[str, Any]:
    """Write an answer as JSON values; the arguments of a call stay the text that the model wrote."""
    values = asdict(result)
    return {name: values[name] for name in SHOWN}
