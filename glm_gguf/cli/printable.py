"""Texts of others for a terminal: their control characters are shown, not obeyed."""

from __future__ import annotations

import re
import sys
from typing import Any, Final

import click

CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""All but the newline and the tab; also those that turn the direction of writing."""


def printable(text: str) -> str:
    r"""Return a text with its control characters as \x1b."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def say(text: str, **style: Any) -> None:
    """Print a text that holds words of others to stderr, in a style of click."""
    click.secho(printable(text), err=True, **style)


def show(text: str, *, nl: bool = True) -> None:
    """Print a text of others to stdout: printable on a terminal, and as it is into a file or another program."""
    click.echo(printable(text) if sys.stdout.isatty() else text, nl=nl)
