"""`glm-gguf chat`: talk with a model line by line."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Iterable
from pathlib import Path

import click

from glm_gguf.chat.events import ChatResult, Event, ToolCall
from glm_gguf.chat.tools import Toolbox
from glm_gguf.cli.console import ModelChoice, model_options, show_answer
from glm_gguf.cli.dialogue import Dialogue
from glm_gguf.errors import GlmGgufError, RequestError

HELP = "/reset begins anew, /exit leaves, Ctrl-C stops an answer"


@click.command(name="chat")
@model_options
@click.option("--system", help="What the model is told before the conversation.")
@click.option("--tools", type=click.Path(path_type=Path), help="Python file whose functions the model may call.")
def command(choice: ModelChoice, system: str | None, tools: Path | None) -> None:
    """Talk with the model in FILE.

    /reset begins anew, /exit or the end of input leaves, Ctrl-C stops an answer. With --tools the public functions of
    a Python file are declared from their type hints and docstrings, and run when the model calls them.
    """
    toolbox = Toolbox.of([]) if tools is None else _load_tools(tools)
    with choice.open() as glm:
        dialogue = Dialogue(glm, toolbox, choice.sampling, system)
        click.secho(f"{glm.variant} model, {glm.n_ctx} tokens of context; {HELP}", dim=True, err=True)
        while (line := _read_line()) is not None and line != "/exit":
            if line == "/reset":
                dialogue.reset()
            elif line.strip():
                _take_turn(dialogue, line)


class _Terminal:
    """Shows the dialogue: answers on stdout, everything else on stderr."""

    def answer(self, events: Iterable[Event]) -> ChatResult:
        """Show an answer as it is written."""
        return show_answer(events)

    def observation(self, call: ToolCall, text: str) -> None:
        """Show the result of a call below it."""
        click.secho(f"← {text}", fg="green", err=True)


def _take_turn(dialogue: Dialogue, line: str) -> None:
    """Answer one line; an interruption or an error ends the turn, not the program."""
    try:
        dialogue.ask(line, _Terminal())
    except KeyboardInterrupt:
        click.secho("\n(stopped; this turn is forgotten)", dim=True, err=True)
    except GlmGgufError as error:
        click.echo(f"error: {error}", err=True)


def _read_line() -> str | None:
    """Read what the user says; None at the end of input. Without a terminal no prompt is shown."""
    stdin = sys.stdin
    if not stdin.isatty():
        line = stdin.readline()
        return line.rstrip("\r\n") if line else None
    try:
        import readline  # noqa: F401 - gives input() a history and editing keys

        return input("> ")
    except KeyboardInterrupt:  # meant for an answer that had just ended
        return ""
    except EOFError:
        return None


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
