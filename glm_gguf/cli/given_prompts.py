"""The prompts of `run`: arguments, standard input, or both joined."""

from __future__ import annotations

import io
import os
import select
import stat
import sys
from collections.abc import Sequence

import click

from glm_gguf.cli.utf8_text import utf8_text
from glm_gguf.errors import RequestError

PIPED = "-"
"""The argument that stands for standard input."""
QUIET_SECONDS = 2.0
"""Seconds without input after which the user is told that standard input is being read."""


def read_prompts(given: Sequence[str], *, lines: bool) -> list[str]:
    """Return the prompts; UsageError where there is none, or an empty one."""
    if not given and not lines and sys.stdin.isatty():
        raise click.UsageError("no prompt: give one, or pipe one in")
    if lines:
        prompts = [*given, *(line for line in _piped_text().split("\n") if line.strip())]
    elif PIPED in given:
        piped = _piped_text()
        prompts = ["\n\n".join(piped if prompt == PIPED else prompt for prompt in given)]
    else:
        piped = _piped_text() if not given or _is_piped() else ""
        if given and piped.strip():
            _tell_of(piped)
        prompts = [f"{prompt}\n\n{piped}" if piped.strip() else prompt for prompt in given] or [piped]
    if not prompts or not all(prompt.strip() for prompt in prompts):
        raise click.UsageError("no prompt: the text is empty; give one, or pipe one in")
    return prompts


def _tell_of(piped: str) -> None:
    """Say what was added: a shell's loop may have meant its lines for itself."""
    told = f"{len(piped):,} characters of standard input were added to the prompt (< /dev/null prevents that)"
    click.secho(told, dim=True, err=True)


def _is_piped() -> bool:
    """Tell whether standard input is a pipe, a socket or a file; a terminal or /dev/null has no text."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (io.UnsupportedOperation, OSError, ValueError):  # an object in its place; or it is closed
        return not sys.stdin.closed
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def _piped_text() -> str:
    """Read standard input; tell the user where nothing arrives for a while."""
    if os.name != "nt" and _is_quiet():
        click.secho("reading standard input to its end … (< /dev/null prevents that)", dim=True, err=True)
    try:
        data = sys.stdin.buffer.read()
    except OSError as problem:
        raise RequestError(f"cannot be read: {problem.strerror}", where="standard input") from None
    return utf8_text(data, "standard input")


def _is_quiet() -> bool:
    """Tell whether nothing arrives within QUIET_SECONDS."""
    try:
        return not select.select([sys.stdin.fileno()], [], [], QUIET_SECONDS)[0]
    except (io.UnsupportedOperation, ValueError, OSError):
        return False
