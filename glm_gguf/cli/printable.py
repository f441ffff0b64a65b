"""Texts of others for a terminal: their control characters are shown, not obeyed."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any, Final

import click

CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""All but the newline and the tab; also those that turn the direction of writing."""


def printable(text: str) -> str:
    r"""Return a text with its control characters as \x1b."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def printable_line(text: str) -> str:
    r"""Return a name, or another text for one line, with all that is not seen as \x1b, \n or \u200b."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def print_line(line: str) -> None:
    """Print a line that holds names or words of others to stdout, with escapes for what its encoding cannot hold."""
    encoding = sys.stdout.encoding or "utf-8"
    click.echo(printable_line(line).encode(encoding, "backslashreplace").decode(encoding))


def say(text: str, **style: Any) -> None:
    """Print a text that holds words of others to stderr, in a style of click."""
    click.secho(printable(text), err=True, **style)


def say_warnings() -> None:
    """Have the warnings of libraries printed as `say` prints."""
    last = logging.lastResort
    assert last is not None
    last.addFilter(_made_printable)


def _made_printable(record: logging.LogRecord) -> bool:
    record.msg, record.args = printable(record.getMessage()), ()
    return True


def show(text: str, *, nl: bool = True) -> None:
    """Print a text of others to stdout: printable on a terminal, and as it is into a file or another program."""
    click.echo(printable(text) if sys.stdout.isatty() else text, nl=nl)
