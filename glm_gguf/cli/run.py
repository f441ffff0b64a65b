"""`glm-gguf run`: answer prompts and exit."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glm_gguf.chat.events import ChatResult, Event, ToolCall, collect
from glm_gguf.cli.answer_view import show_answer
from glm_gguf.cli.called_tools import MCP_OPTION, Approval, called_tools, show_result
from glm_gguf.cli.conversation import RUN_DEFAULTS, Conversation
from glm_gguf.cli.given_prompts import read_prompts
from glm_gguf.cli.grouped_help import GroupedCommand
from glm_gguf.cli.model_options import ModelChoice, model_options
from glm_gguf.cli.printable import show
from glm_gguf.cli.utf8_text import Utf8Text
from glm_gguf.errors import RequestError

if TYPE_CHECKING:
    from glm_gguf.model import GLM

SHOWN = ("content", "reasoning", "tool_calls", "finish_reason", "usage")
"""Fields of an answer that are printed as JSON."""
AHEAD = 64
"""Requests submitted before the first answer is printed."""


@click.command(name="run", cls=GroupedCommand)
@model_options
@click.argument("prompts", nargs=-1, metavar="[PROMPT]...", type=Utf8Text())
@click.option("--system", type=Utf8Text(), help="System message before every prompt.")
@MCP_OPTION
@click.option("--approve", is_flag=True, help="Ask before each call of a server's tool runs.")
@click.option("--json", "as_json", is_flag=True, help="Print whole answers as JSON: one object, or one per line.")
@click.option("--lines", is_flag=True, help="Take each line of standard input as a prompt.")
@click.option("--verbose", is_flag=True, help="Print the devices and the memory in use to standard error.")
def command(
    choice: ModelChoice, prompts: tuple[str, ...], system: str | None, mcp: Path | None, approve: bool, **shown: bool
) -> None:
    """Answer each PROMPT with the model in FILE and exit.

    `default` as FILE is the model that `glm-gguf config set model` has set. FILE may be left out with every PROMPT.

    The command adds piped text after every PROMPT; without a PROMPT, the piped text is the prompt. If one PROMPT is
    `-`, the command joins all of them into one prompt, with the piped text in place of `-`. In a shell's `while read`
    loop, add `< /dev/null`: otherwise the command reads the loop's lines. The model answers several prompts at once;
    the command prints the answers in order. Answers go to standard output, thoughts and calls to standard error.

    --mcp starts the servers of a file and runs what the model calls; then the model answers one prompt after another.
    """
    choice.require_files()
    _require_somebody(mcp, approve=approve)
    texts = read_prompts(prompts, lines=shown["lines"])
    with called_tools(None, mcp) as called, choice.open(verbose=shown["verbose"]) as glm:
        display = _Silent() if shown["as_json"] else _Terminal()
        options = replace(RUN_DEFAULTS, approve=Approval(called)) if approve else RUN_DEFAULTS
        if mcp is None:
            turns = (partial(display.answer, events) for events in _answers(glm, texts, system, choice))
        else:
            talks = (Conversation(glm, called.toolbox, choice.sampling, system, options) for _ in texts)
            turns = (partial(talk.ask, text, display) for talk, text in zip(talks, texts, strict=True))
        _print(turns, texts, as_json=shown["as_json"])


def _print(turns: Iterator[partial[ChatResult]], texts: Sequence[str], *, as_json: bool) -> None:
    """Take the turns, and print their answers in order."""
    for number, turn in enumerate(turns):
        if as_json:
            show(json.dumps(_as_json(turn()), ensure_ascii=False, indent=_indent(texts)))
            continue
        if len(texts) > 1:
            click.secho(f"{chr(10) if number else ''}# {texts[number]}", dim=True, err=True)
        turn()


def _require_somebody(mcp: Path | None, *, approve: bool) -> None:
    """Raise RequestError where --approve has no calls to ask about, or nobody to answer."""
    if approve and mcp is None:
        raise RequestError("there are no calls to approve", field="--approve", fix="give --mcp, or leave it out")
    if approve and not sys.stdin.isatty():
        fix = "give the prompt as an argument, in a terminal"
        raise RequestError("standard input is no terminal: nobody could answer", field="--approve", fix=fix)


class _Terminal:
    """Shows answers and results."""

    def answer(self, events: Iterable[Event]) -> ChatResult:
        """Print an answer while it is generated."""
        return show_answer(events)

    def observation(self, call: ToolCall, text: str) -> None:
        """Print the result of a call."""
        show_result(text)


class _Silent:
    """Shows nothing: the last answer is printed as JSON."""

    def answer(self, events: Iterable[Event]) -> ChatResult:
        """Return the whole answer."""
        return collect(events)

    def observation(self, call: ToolCall, text: str) -> None:
        """Pass over the result of a call."""


def _answers(glm: GLM, texts: Sequence[str], system: str | None, choice: ModelChoice) -> Iterator[Iterator[Event]]:
    """Submit the prompts together, and yield the answers in order."""
    before = [{"role": "system", "content": system}] if system else []
    under_way: deque[Iterator[Event]] = deque()
    for text in texts:
        messages = [*before, {"role": "user", "content": text}]
        under_way.append(glm.stream(messages, sampling=choice.sampling, progress=sys.stderr.isatty()))
        if len(under_way) == AHEAD:
            yield under_way.popleft()
    yield from under_way


def _indent(texts: Sequence[str]) -> int | None:
    """Indent one answer for reading; several are a line each, for programs."""
    return 2 if len(texts) == 1 else None


def _as_json(result: ChatResult) -> dict[str, Any]:
    """Return an answer as JSON values; the arguments of a call stay the model's text."""
    values = asdict(result)
    return {name: values[name] for name in SHOWN}
