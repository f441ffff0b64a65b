"""Write docs/cli.md: the help of every command. A test compares the page with this."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
from click.testing import CliRunner

from glm_gguf.cli.main import cli

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
WIDTH = 90
INTRODUCTION = """# Command line

Every command has `--help`; this page is the same text. `scripts/write_cli_page.py` writes it.

Exit codes: 0 is success, 1 an error, 2 a mistake in the command line. Its error begins with the option or argument that
is wrong; a file that is missing or damaged is an error. 3 is a fault that `inspect`, `mend` or `doctor` found. 130 is
Ctrl-C. `serve` ends with 0 after Ctrl-C or SIGTERM. `batch` ends with 1 too where a request was refused, `verify` where
something differs. `launch` ends with the code of its program.

Results go to standard output, everything else to standard error.
"""


def page() -> str:
    """Return the page: the list of commands, then each command in the order of that list."""
    context = click.Context(cli, info_name="glm-gguf")
    parts = [INTRODUCTION, *_section("glm-gguf", [])]
    for name in cli.list_commands(context):
        parts += _section(f"glm-gguf {name}", [name])
        command = cli.get_command(context, name)
        for inner in command.commands if isinstance(command, click.Group) else ():
            parts += _section(f"glm-gguf {name} {inner}", [name, inner])
    return "\n".join(parts)


def _section(title: str, arguments: list[str]) -> Iterator[str]:
    shown = CliRunner().invoke(cli, [*arguments, "--help"], prog_name="glm-gguf", terminal_width=WIDTH)
    yield f"## {title}\n\n```text\n{shown.output.strip()}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
