"""`glm-gguf chat`: talk with a model line by line."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import click

from glm_gguf.chat.events import ChatResult, Event, ToolCall
from glm_gguf.chat.tools import Toolbox
from glm_gguf.cli.console import ModelChoice, TokenRate, model_options, show_answer
from glm_gguf.cli.dialogue import RUN_DEFAULTS, Dialogue
from glm_gguf.cli.line_input import line_history, read_text
from glm_gguf.cli.slash import obey
from glm_gguf.errors import GlmGgufError, RequestError

HELP = "/help lists the commands, /exit leaves, Ctrl-C stops an answer"


@click.command(name="chat")
@model_options
@click.option("--system", help="What the model is told before the conversation.")
@click.option("--tools", type=click.Path(path_type=Path), help="Python file whose functions the model may call.")
@click.option("--approve", is_flag=True, help="Ask before every call.")
@click.option("--transcript", type=click.Path(path_type=Path), help="File to go on from, and to save to (JSON).")
def command(
    choice: ModelChoice, system: str | None, tools: Path | None, approve: bool, transcript: Path | None
) -> None:
    """Talk with the model in FILE.

    /help lists the commands, /exit or the end of input leaves, Ctrl-C stops an answer. A line that ends with a
    backslash goes on in the next. With --tools the public functions of a Python file are declared from their type
    hints and docstrings, and run when the model calls them. With --session what is computed of system message and
    tools is kept in a file, which the first run writes.
    """
    toolbox = Toolbox.of([]) if tools is None else _load_tools(tools)
    with choice.open() as glm, line_history():
        options = replace(RUN_DEFAULTS, approve=_approved) if approve else RUN_DEFAULTS
        dialogue = Dialogue(glm, toolbox, choice.sampling, system, options)
        click.secho(f"{glm.variant} model, {glm.n_ctx} tokens of context; {HELP}", dim=True, err=True)
        if transcript is not None and transcript.exists():
            dialogue.load(transcript)
        if choice.session is not None and not choice.session.exists():
            dialogue.save_session(choice.session)
        while (line := read_text()) is not None and line != "/exit":
            if line.strip():
                _take_turn(dialogue, line)
            if transcript is not None:
                dialogue.save(transcript)


class _Terminal:
    """Shows the dialogue: answers on stdout, everything else on stderr."""

    def answer(self, events: Iterable[Event]) -> ChatResult:
        """Show an answer as it is written, and how fast it came."""
        rate = TokenRate()
        result = show_answer(rate.watch(events))
        click.secho(rate.summary(result.usage), dim=True, err=True)
        return result

    def observation(self, call: ToolCall, text: str) -> None:
        """Show the result of a call below it."""
        click.secho(f"← {text}", fg="green", err=True)


def _approved(call: ToolCall) -> bool:
    """Ask whether a call may run; Ctrl-C or the end of input stops the turn."""
    try:
        return click.confirm(f"run {call.name}({call.arguments})?", default=False, err=True)
    except click.Abort:
        raise KeyboardInterrupt from None


def _take_turn(dialogue: Dialogue, line: str) -> None:
    """Obey or answer one text; an interruption or an error ends the turn, not the program."""
    try:
        if line.startswith("/"):
            obey(dialogue, line)
        else:
            dialogue.ask(line, _Terminal())
    except KeyboardInterrupt:
        click.secho("\n(stopped; this turn is forgotten)", dim=True, err=True)
    except GlmGgufError as error:
        click.echo(f"error: {error}", err=True)


def _load_tools(path: Path) -> Toolbox:
    """Run a Python file of the user's and gather the public functions defined in it."""
    spec = importlib.util.spec_from_file_location("glm_gguf_tools", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise RequestError("no Python file", where=path, fix="give --tools a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise RequestError(f"{type(error).__name__}: {error}", where=path, fix="mend the file") from error
    functions = [
        value
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    ]
    if not functions:
        raise RequestError("the file defines no public function", where=path)
    return Toolbox.of(functions)
