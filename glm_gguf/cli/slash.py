"""What `chat` does with lines that begin with a slash."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import click

from glm_gguf.cli.footprint_line import footprint_line
from glm_gguf.cli.sampling_field import SETTABLE, shown_value, with_field
from glm_gguf.cli.talk import Talk
from glm_gguf.cli.text_argument import utf8_text
from glm_gguf.cli.transcript_file import read_transcript, write_transcript
from glm_gguf.errors import RequestError
from glm_gguf.regular_file import read_regular

Command = Callable[[Talk, str], None]
MOST_FILE: Final = 2**26
SHORT: Final = 60


def is_command(text: str) -> bool:
    """Tell whether a text is meant for us: one line that begins with a slash and a word; /usr/bin/x is a path."""
    return "\n" not in text and re.match(r"/([A-Za-z?][\w?-]*)?(\s|$)", text) is not None


def obey(talk: Talk, line: str) -> None:
    """Do what a line says; RequestError where it is no command."""
    name, _, argument = line.strip().partition(" ")
    command = COMMANDS.get(name) or COMMANDS.get(ALIASES.get(name, ""))
    if command is None:
        near = difflib.get_close_matches(name, [*COMMANDS, *ALIASES], 1)
        fix = f"did you mean {near[0]}?" if near else "/help lists the commands"
        raise RequestError("there is no such command", where=name, fix=f"{fix} (a blank before it sends it as text)")
    command(talk, argument.strip())


def _help(talk: Talk, _: str) -> None:
    """list the commands"""
    for name, command in COMMANDS.items():
        aliases = "".join(f", {alias}" for alias, meant in ALIASES.items() if meant == name)
        talk.say(f"{name + aliases:22} {command.__doc__}")
    talk.say('A line that ends with \\ goes on; """ begins and ends a text of several lines.')
    talk.say("Keys: Enter sends, Alt-Enter begins a new line, Tab completes, Ctrl-X Ctrl-E opens $EDITOR,")
    talk.say("Ctrl-C stops an answer, Ctrl-D leaves. A pasted text is one message.")


def _retry(talk: Talk, _: str) -> None:
    """have your last message answered anew"""
    talk.ask_again(_last(talk))


def _edit(talk: Talk, _: str) -> None:
    """change your last message in $EDITOR, and have it answered"""
    last = talk.dialogue.last_question
    changed = click.edit(last or "", extension=".md")
    if changed is None or not changed.strip():
        talk.say("nothing was changed")
    elif last is None:
        talk.ask(changed.rstrip("\n"))
    else:
        talk.ask_again(changed.rstrip("\n"))


def _undo(talk: Talk, _: str) -> None:
    """forget the last turn"""
    question = talk.dialogue.last_question
    count = talk.dialogue.undo()
    talk.say(f'forgot "{_short(question or "")}" ({count} messages)' if count else "there is nothing to undo")


def _reset(talk: Talk, _: str) -> None:
    """begin anew; the system message stays"""
    talk.dialogue.reset()
    talk.attached.clear()
    talk.used = 0
    talk.say("the conversation begins anew" + (", with its system message" if talk.dialogue.system else ""))


def _drop(talk: Talk, word: str) -> None:
    """forget the oldest turns whenever the context is full (/drop off: no longer)"""
    if word not in ("", "on", "off"):
        raise RequestError(f"{word!r} is unknown", where="/drop", fix="give on, off or nothing")
    talk.dialogue.manner.drops_turns = word != "off"
    kept = "stay, and a full context is an error" if word == "off" else "go when the context is full"
    talk.say(f"from now on the oldest turns {kept}")


def _system(talk: Talk, text: str) -> None:
    """begin anew with another system message, or none"""
    talk.dialogue.instruct(text or None)
    talk.say(f"the conversation begins anew, {'with this' if text else 'without a'} system message")


def _set(talk: Talk, words: str) -> None:
    """show the sampling parameters, or change one: /set temperature 0.5, /set seed default"""
    name, _, value = words.partition(" ")
    manner = talk.dialogue.manner
    if name:
        manner.sampling = with_field(manner.sampling, name, value.strip())
    in_force = manner.sampling.filled(talk.dialogue.glm.sampling)
    for field in [name] if name else SETTABLE:
        talk.say(f"{field:18} {shown_value(getattr(in_force, field))}")


def _show(talk: Talk, _: str) -> None:
    """show model, device, context and settings"""
    dialogue = talk.dialogue
    talk.say(f"model    {talk.path} ({dialogue.glm.variant})")
    talk.say(f"device   {footprint_line(dialogue.glm.footprint)}")
    dropping = "; the oldest turns go when it is full" if dialogue.manner.drops_turns else ""
    talk.say(f"context  {talk.meter().removeprefix('context ')}, {len(dialogue.messages)} messages{dropping}")
    system = dialogue.system[0]["content"] if dialogue.system else None
    talk.say(f"system   {'none' if system is None else _short(system)}")
    talk.say(f"tools    {', '.join(dialogue.toolbox.functions) or 'none'}")
    in_force = dialogue.manner.sampling.filled(dialogue.glm.sampling)
    given = [f"{name} {getattr(in_force, name)}" for name in SETTABLE if getattr(in_force, name) is not None]
    talk.say(f"sampling {', '.join(given)}")


def _tools(talk: Talk, _: str) -> None:
    """list the functions that the model may call"""
    for declared in talk.dialogue.toolbox.declarations:
        function = declared["function"]
        arguments = ", ".join(function.get("parameters", {}).get("properties", {}))
        description = function.get("description", "").split("\n")[0]
        talk.say(f"{function['name']}({arguments})  {description}".rstrip())
    if not talk.dialogue.toolbox.declarations:
        talk.say("none; --tools FILE.py declares the functions of a Python file")


def _file(talk: Talk, name: str) -> None:
    """put a text file before your next message"""
    path = _path(name)
    text = utf8_text(read_regular(path, MOST_FILE), str(path))
    talk.attached.append(f"{path.name}:\n\n{text}")
    talk.say(f"{path}: {len(text):,} characters go before your next message")


def _save(talk: Talk, name: str) -> None:
    """write the conversation to a JSON file"""
    path = _path(name)
    if not _may_write(talk, path):
        return
    write_transcript(path, talk.dialogue.messages)
    talk.own_files.add(path.absolute())
    talk.say(f"saved {len(talk.dialogue.messages)} messages to {path}")


def _load(talk: Talk, name: str) -> None:
    """go on with a conversation that was saved"""
    path = _path(name)
    talk.dialogue.messages = read_transcript(path)
    talk.own_files.add(path.absolute())
    talk.say(f"{len(talk.dialogue.messages)} messages")


def _session(talk: Talk, name: str) -> None:
    """write what is computed of system message and tools to a file, for --session"""
    path = _path(name)
    if not _may_write(talk, path):
        return
    talk.dialogue.glm.save_session(path, talk.dialogue.system, talk.dialogue.toolbox.declarations)
    talk.own_files.add(path.absolute())
    talk.say(f"saved to {path}; --session {path} begins with it")


def _exit(talk: Talk, _: str) -> None:
    """leave"""
    talk.ended = True


def _path(name: str) -> Path:
    if not name:
        raise RequestError("say which file", fix="write its name after the command")
    return Path(name).expanduser()


def _may_write(talk: Talk, path: Path) -> bool:
    """Ask before another file is written over; without a terminal, raise RequestError."""
    if path.is_dir():
        raise RequestError("this is a directory", path=path, fix="name a file in it")
    if not path.exists() or path.absolute() in talk.own_files:
        return True
    if not talk.may_ask:
        raise RequestError("the file exists already", path=path, fix="name another, or delete it first")
    try:
        if click.confirm(f"{path} exists already; replace it?", default=False, err=True):
            return True
    except click.Abort:
        click.echo(err=True)
    talk.say("nothing was written")
    return False


def _last(talk: Talk) -> str:
    if talk.dialogue.last_question is None:
        raise RequestError("nothing was asked yet", fix="write a message first")
    return talk.dialogue.last_question


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHORT else line[: SHORT - 1] + "…"


COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "/help": _help,
        "/retry": _retry,
        "/edit": _edit,
        "/undo": _undo,
        "/reset": _reset,
        "/drop": _drop,
        "/system": _system,
        "/set": _set,
        "/show": _show,
        "/tools": _tools,
        "/file": _file,
        "/save": _save,
        "/load": _load,
        "/session": _session,
        "/exit": _exit,
    }
)
"""Command → what it does; the first line of its docstring is its line in /help."""
ALIASES: Mapping[str, str] = MappingProxyType({"/clear": "/reset", "/bye": "/exit", "/quit": "/exit", "/?": "/help"})
"""Other names, by which other programs know them."""


def completions() -> dict[str, Callable[[], list[str]] | None]:
    """Return every command with what may stand behind it; None is a file's name."""
    files = dict.fromkeys(("/file", "/save", "/load", "/session"))
    return {name: (lambda: []) for name in (*COMMANDS, *ALIASES)} | {
        "/set": lambda: list(SETTABLE),
        "/drop": lambda: ["on", "off"],
        **files,
    }
