"""The `glm-gguf` command: a group that imports a subcommand only when it is asked for."""

from __future__ import annotations

import difflib
import importlib
import io
import os
import sys

import click
from click.shell_completion import CompletionItem

from glm_gguf.errors import GlmGgufError

COMMANDS = {
    "convert": "Turn a GLM-4 checkpoint into a quantised GGUF.",
    "imatrix": "Measure which columns of each matrix matter, for convert --imatrix.",
    "plan": "Show which types and contexts fit on this machine.",
    "pull": "Fetch a model into the store.",
    "list": "List the models of the store.",
    "show": "Show what is known of a model.",
    "rm": "Remove models from the store.",
    "inspect": "Show what a GGUF file holds, and what is wrong with it.",
    "evaluate": "Measure perplexity, and how far a file is from its original.",
    "compare": "Compare files of one model in a report.",
    "card": "Write a model card.",
    "mend": "Put right the keys of a GGUF that inspect finds at fault.",
    "verify": "Compare a GGUF with what it was made from.",
    "chat": "Talk with a model.",
    "run": "Answer prompts and exit.",
    "batch": "Answer a file of requests, through every interruption.",
    "research": "Look things up in a folder or on the web, and write a report.",
    "write": "Answer a question from sources, with references.",
    "serve": "Serve models to clients of OpenAI, Anthropic and Ollama, with a page to chat in.",
    "launch": "Start a coding agent that asks a model here.",
    "worker": "Lend this machine's memory and processors to a model that runs elsewhere.",
    "bench": "Measure how fast a file runs here.",
    "doctor": "Show what this machine has, and what is missing.",
    "config": "Show or change what is set for all commands.",
    "completion": "Print the script by which a shell completes commands.",
    "demo": "Convert the bundled tiny model and watch it call tools.",
}
"""Subcommand → its line in --help. The module glm_gguf.cli.NAME holds the click command `command`."""

UNCONFIGURED = ("config", "doctor", "completion")
"""Commands that work whatever the environment sets."""


class LazyGroup(click.Group):
    """A group whose commands live in modules of their own, imported at first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the names in the order of work: convert first."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the module of the command."""
        if name not in COMMANDS:
            return None
        command = importlib.import_module(f"glm_gguf.cli.{name}").command
        assert isinstance(command, click.Command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete names without importing the commands, then the group's own options."""
        names = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest a command for a name that is none; refuse an option of one value that is given twice."""
        name = args[0]
        if name not in COMMANDS:
            from glm_gguf.cli.peer_words import hint_of_command

            near = difflib.get_close_matches(name, COMMANDS, n=1)
            if hint := hint_of_command(name):
                ctx.fail(f"No such command {name!r}. {hint}")
            if near and not name.startswith("-"):
                ctx.fail(f"No such command {name!r}. Did you mean {near[0]!r}?")
        found = super().resolve_command(ctx, args)
        if found[1] is not None and not ctx.resilient_parsing:
            from glm_gguf.cli.repeated_options import require_single

            require_single(found[1], found[2], ctx)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _show_version(ctx: click.Context, param: click.Parameter, asked: bool) -> None:
    """Print the version; a checkout that is not installed has none."""
    if asked and not ctx.resilient_parsing:
        from importlib import metadata

        try:
            version = metadata.version("glm-gguf")
        except metadata.PackageNotFoundError:
            version = "(a checkout that is not installed)"
        click.echo(f"glm-gguf, version {version}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Convert GLM-4 checkpoints to GGUF, and run them."""
    from glm_gguf.cli.printable import say_warnings

    say_warnings()
    if ctx.invoked_subcommand not in UNCONFIGURED and any(name.startswith("GLM_GGUF_") for name in os.environ):
        from glm_gguf.configuration.variables import read_variables

        read_variables(os.environ)


def open_closed_streams() -> None:
    """Open /dev/null in the place of closed standard streams.

    Else the next file that is opened takes the number of the stream, and its reads and writes.
    """
    number = 0
    while number <= 2:
        number = os.open(os.devnull, os.O_RDWR)
    os.close(number)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 (as long as the process)


def main() -> None:
    """Run the command line; a user's error is one line on stderr, and exit code 1, or 2 where the line names an option.

    Without standalone mode click returns the code of `ctx.exit`, and None where there was none.
    """
    open_closed_streams()
    if os.environ.get("_GLM_GGUF_COMPLETE"):  # whatever fails while a user types is not written into the line
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (as long as the process)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # for characters that the locale cannot encode
    try:
        sys.exit(cli.main(standalone_mode=False))
    except click.ClickException as error:
        from glm_gguf.cli.peer_words import with_hint

        with_hint(error, sys.argv[1:]).show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except GlmGgufError as error:
        from glm_gguf.cli.error_line import error_line, exit_code

        click.echo(error_line(error), err=True)
        sys.exit(exit_code(error))
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "glm_gguf"):
            raise
        click.echo(f"Error: {package} cannot be imported ({error}); glm-gguf doctor says what is missing", err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except (OSError, MemoryError) as error:
        from glm_gguf.cli.error_line import system_error_line

        click.echo(system_error_line(error), err=True)
        sys.exit(1)
