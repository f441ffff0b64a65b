"""`glm-gguf run`: answer one prompt and exit."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

import click

from glm_gguf.chat.events import ChatResult, collect
from glm_gguf.cli.console import ModelChoice, model_options, show_answer


@click.command(name="run")
@model_options
@click.argument("prompt", required=False)
@click.option("--system", help="What the model is told before the prompt.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole answer as one JSON object.")
def command(choice: ModelChoice, prompt: str | None, system: str | None, as_json: bool) -> None:
    """Answer PROMPT with the model in FILE and exit.

    The prompt is read from standard input where it is `-`, or where it is missing and something is piped in. The
    answer goes to standard output, a thought to standard error.
    """
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": _prompt(prompt)})
    with choice.open() as glm:
        events = glm.stream(messages, sampling=choice.sampling)
        if as_json:
            click.echo(json.dumps(_as_json(collect(events)), ensure_ascii=False, indent=2))
        else:
            show_answer(events)


def _prompt(given: str | None) -> str:
    """Return the prompt, read from stdin where it was piped in."""
    stdin = sys.stdin
    if given is not None and given != "-":
        return given
    if given is None and stdin.isatty():
        raise click.UsageError("no prompt: give one, or pipe one in")
    return stdin.read()


def _as_json(result: ChatResult) -> dict[str, Any]:
    """Write an answer as JSON values; the arguments of a call stay the text that the model wrote."""
    return asdict(result)
