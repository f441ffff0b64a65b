"""What `chat` does with lines that begin with a slash."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import click

from glm_gguf.cli.dialogue import Dialogue
from glm_gguf.errors import RequestError


def obey(dialogue: Dialogue, line: str) -> None:
    """Do what a line says; RequestError where it is no command. /exit is the caller's."""
    name, _, argument = line.partition(" ")
    command = COMMANDS.get(name)
    if command is None:
        fix = "/help lists the commands; begin the line with a blank to send it to the model"
        raise RequestError("there is no such command", where=name, fix=fix)
    command(dialogue, argument.strip())


def _help(_: Dialogue, __: str) -> None:
    """list the commands"""
    for name, command in COMMANDS.items():
        click.secho(f"{name:9} {command.__doc__}", dim=True, err=True)
    click.secho('A line that ends with \\ goes on; """ begins and ends a text of several lines.', dim=True, err=True)


def _reset(dialogue: Dialogue, _: str) -> None:
    """begin anew"""
    dialogue.reset()


def _undo(dialogue: Dialogue, _: str) -> None:
    """forget the last turn"""
    dialogue.undo()


def _system(dialogue: Dialogue, text: str) -> None:
    """begin anew with another system message, or none"""
    dialogue.instruct(text or None)


def _save(dialogue: Dialogue, name: str) -> None:
    """write the conversation to a JSON file"""
    dialogue.save(_path(name))


def _load(dialogue: Dialogue, name: str) -> None:
    """go on with a conversation that was saved"""
    dialogue.load(_path(name))
    click.secho(f"{len(dialogue.messages)} messages", dim=True, err=True)


def _session(dialogue: Dialogue, name: str) -> None:
    """write what is computed of system message and tools to a file, for --session"""
    dialogue.save_session(_path(name))


def _exit(_: Dialogue, __: str) -> None:
    """leave"""


def _path(name: str) -> Path:
    if not name:
        raise RequestError("which file?", fix="name it behind the command")
    return Path(name).expanduser()


COMMANDS: Mapping[str, Callable[[Dialogue, str], None]] = MappingProxyType(
    {
        "/help": _help,
        "/reset": _reset,
        "/undo": _undo,
        "/system": _system,
        "/save": _save,
        "/load": _load,
        "/session": _session,
        "/exit": _exit,
    }
)
"""Command → what it does; the first line of its docstring is its line in /help."""
