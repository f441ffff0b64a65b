"""`glm-gguf chat`: talk with a model."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import click

from glm_gguf.cli.called_tools import MCP_OPTION, Approval, called_tools
from glm_gguf.cli.chat_terminal import ChatTerminal
from glm_gguf.cli.conversation import RUN_DEFAULTS, Conversation
from glm_gguf.cli.error_line import error_line
from glm_gguf.cli.footprint_line import footprint_line
from glm_gguf.cli.grouped_help import GroupedCommand
from glm_gguf.cli.model_options import ModelChoice, model_options
from glm_gguf.cli.piped_input import PipedInput
from glm_gguf.cli.slash_commands import completions, is_command, run_slash_command
from glm_gguf.cli.transcript_file import read_transcript, require_writable, write_transcript
from glm_gguf.cli.utf8_text import Utf8Text
from glm_gguf.errors import GlmGgufError, OutputError

HELP = "/help lists the commands, /exit quits, Ctrl-C stops an answer"


@click.command(name="chat", cls=GroupedCommand)
@model_options
@click.option("--system", type=Utf8Text(), help="System message: what the model is told before the conversation.")
@click.option(
    "--tools", type=click.Path(path_type=Path), metavar="FILE", help="Python file whose functions the model may call."
)
@MCP_OPTION
@click.option("--approve", is_flag=True, help="Ask before each call runs.")
@click.option(
    "--transcript",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="JSON file of the conversation: read at the start where it exists, written after every turn.",
)
@click.option("--quiet", is_flag=True, help="Print answers only, without token counts and rates.")
def command(
    choice: ModelChoice,
    system: str | None,
    tools: Path | None,
    mcp: Path | None,
    transcript: Path | None,
    **flags: bool,
) -> None:
    """Talk with the model in FILE.

    /help lists the commands. /exit or the end of input quits. Ctrl-C stops an answer and keeps what was written. A
    pasted text is one message.

    --tools declares the public functions of a Python file from their type hints and docstrings, and runs them when the
    model calls them. --mcp starts the servers of a file and ends them with the chat. --session keeps the KV cache of
    system message and tools in a file: the first run writes it, the next ones start from it.
    """
    with called_tools(tools, mcp) as called:
        earlier = None
        if transcript is not None:
            require_writable(transcript, "--transcript")
            earlier = read_transcript(transcript) if transcript.exists() else None
        if choice.session is not None and not choice.session.exists():
            require_writable(choice.session, "--session")
        options = replace(RUN_DEFAULTS, approve=Approval(called)) if flags["approve"] else RUN_DEFAULTS
        with choice.open() as glm:
            conversation = Conversation(glm, called.toolbox, choice.sampling, system, options)
            terminal = ChatTerminal(conversation, choice.path, quiet=flags["quiet"])
            if earlier is not None:
                conversation.messages = earlier
            if not flags["quiet"]:
                _greet(terminal)
            if choice.session is not None and not choice.session.exists():
                glm.save_session(choice.session, conversation.system, called.toolbox.declarations)
            _converse(terminal, transcript)


def _greet(terminal: ChatTerminal) -> None:
    """Tell the model, its context, tools and devices."""
    glm, functions = terminal.conversation.glm, terminal.conversation.toolbox.functions
    loaded = f", tools: {', '.join(functions)}" if functions else ""
    terminal.say(f"{glm.variant} model, {glm.n_ctx} tokens of context{loaded}; {HELP}")
    terminal.say(footprint_line(glm.footprint))


class Reader(Protocol):
    """A source of messages."""

    def read(self) -> str | None:
        """Return the next message; None at the end of input."""


def _reader() -> Reader:
    """Return an editor where standard input is a terminal, else a reader of its lines."""
    if not sys.stdin.isatty():
        return PipedInput()
    from glm_gguf.cli.typed_input import TypedInput

    return TypedInput(completions())


def _converse(terminal: ChatTerminal, transcript: Path | None) -> None:
    """Take turns until the user quits, and write the transcript after each."""
    reader = _reader()
    while not terminal.ended and (text := reader.read()) is not None:
        if text.strip():
            _take_turn(terminal, text)
        if transcript is not None:
            _keep(terminal, transcript)


def _keep(terminal: ChatTerminal, transcript: Path) -> None:
    """Write the transcript. A failure is told and ends nothing: the user can still save elsewhere."""
    try:
        write_transcript(transcript, terminal.conversation.messages)
    except OutputError as error:
        click.echo(error_line(error), err=True)


def _take_turn(terminal: ChatTerminal, text: str) -> None:
    """Run one command or answer one message. An interruption or an error ends the turn, not the program."""
    before = list(terminal.conversation.messages)
    try:
        if is_command(text):
            run_slash_command(terminal, text)
        else:
            terminal.ask(text)
    except KeyboardInterrupt:
        kept = terminal.conversation.messages != before
        terminal.count_tokens()
        told = (
            "the part that was written stays; /undo removes it" if kept else "nothing was written; this turn is removed"
        )
        click.secho(f"\n(stopped; {told})", dim=True, err=True)
    except click.ClickException as error:  # an editor that cannot be started
        error.show()
    except GlmGgufError as error:
        click.echo(error_line(error), err=True)
