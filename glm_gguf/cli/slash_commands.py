"""The commands of `chat`: lines that begin with a slash."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import click

from glm_gguf.cli.chat_terminal import ChatTerminal
from glm_gguf.cli.footprint_line import footprint_line
from glm_gguf.cli.sampling_field import SETTABLE, shown_value, with_field
from glm_gguf.cli.transcript_file import read_transcript, write_transcript
from glm_gguf.cli.utf8_text import utf8_text
from glm_gguf.errors import RequestError
from glm_gguf.home_directory import expanded
from glm_gguf.regular_file import read_regular

Command = Callable[[ChatTerminal, str], None]
MOST_FILE: Final = 2**26
SHORT: Final = 60


def is_command(text: str) -> bool:
    """Tell whether a text is a command: one line that begins with a slash and a word. /usr/bin/x is a path."""
    return "\n" not in text and re.match(r"/([A-Za-z?][\w?-]*)?(\s|$)", text) is not None


def run_slash_command(chat: ChatTerminal, line: str) -> None:
    """Run the command of a line; RequestError where there is no such command."""
    name, _, argument = line.strip().partition(" ")
    command = COMMANDS.get(name) or COMMANDS.get(ALIASES.get(name, ""))
    if command is None:
        words = [known.removeprefix("/") for known in (*COMMANDS, *ALIASES)]  # the slash makes no two names alike
        near = difflib.get_close_matches(name.removeprefix("/"), words, 1)
        fix = f"did you mean /{near[0]}?" if near else "/help lists the commands"
        raise RequestError("there is no such command", where=name, fix=f"{fix} (a space before it sends it as text)")
    command(chat, argument.strip())


def _help(chat: ChatTerminal, _: str) -> None:
    """list the commands"""
    for name, command in COMMANDS.items():
        aliases = "".join(f", {alias}" for alias, meant in ALIASES.items() if meant == name)
        argument = f" {ARGUMENTS[name]}" if name in ARGUMENTS else ""
        chat.say(f"{name + argument + aliases:22} {command.__doc__}")
    chat.say('A line that ends with \\ continues on the next; """ begins and ends a text of several lines.')
    chat.say("Keys: Enter sends, Alt-Enter begins a new line, Tab completes, Ctrl-X Ctrl-E opens $EDITOR,")
    chat.say("Ctrl-C stops an answer, Ctrl-D quits. A pasted text is one message.")


def _retry(chat: ChatTerminal, _: str) -> None:
    """answer your last message again"""
    chat.ask_again(_last(chat))


def _edit(chat: ChatTerminal, _: str) -> None:
    """edit your last message in $EDITOR, and send it again"""
    last = _last(chat)
    if not chat.may_ask:
        raise RequestError("an editor needs a terminal", where="/edit", fix="/undo removes the message; send it anew")
    changed = click.edit(last, extension=".md")
    if changed is None or not changed.strip():
        chat.say("nothing was changed")
    else:
        chat.ask_again(changed.rstrip("\n"))


def _undo(chat: ChatTerminal, _: str) -> None:
    """remove the last turn"""
    question = chat.conversation.last_question
    if question is None:
        raise RequestError("there is nothing to undo", fix="write a message first")
    count = chat.conversation.undo()
    chat.count_tokens()
    chat.say(f'removed "{_short(question)}" ({count} messages)')


def _reset(chat: ChatTerminal, _: str) -> None:
    """start over; the system message stays"""
    chat.conversation.reset()
    chat.attached.clear()
    chat.count_tokens()
    chat.say("a new conversation" + (", with the same system message" if chat.conversation.system else ""))


def _drop(chat: ChatTerminal, word: str) -> None:
    """drop the oldest turns whenever the context is full; off: no longer"""
    if word not in ("", "on", "off"):
        raise RequestError(f"{word!r} is unknown", where="/drop", fix="give on, off or nothing")
    chat.conversation.settings.drops_oldest_turns = word != "off"
    effect = "is an error" if word == "off" else "drops the oldest turns"
    chat.say(f"from now on a full context {effect}")


def _system(chat: ChatTerminal, text: str) -> None:
    """start over with another system message, or none"""
    chat.conversation.set_system(text or None)
    chat.count_tokens()
    chat.say(f"a new conversation, {'with this' if text else 'without a'} system message")


def _set(chat: ChatTerminal, words: str) -> None:
    """show the sampling parameters, or change one: /set temperature 0.5, /set seed default"""
    name, _, value = words.partition(" ")
    settings = chat.conversation.settings
    if name:
        settings.sampling = with_field(settings.sampling, name, value.strip())
    in_force = settings.sampling.filled(chat.conversation.glm.sampling)
    for field in [name] if name else SETTABLE:
        chat.say(f"{field:18} {shown_value(getattr(in_force, field))}")


def _show(chat: ChatTerminal, _: str) -> None:
    """show model, devices, context and settings"""
    conversation = chat.conversation
    chat.say(f"model    {chat.path} ({conversation.glm.variant})")
    chat.say(f"device   {footprint_line(conversation.glm.footprint)}")
    dropping = "; a full context drops the oldest turns" if conversation.settings.drops_oldest_turns else ""
    chat.say(f"context  {chat.meter().removeprefix('context ')}, {len(conversation.messages)} messages{dropping}")
    system = conversation.system[0]["content"] if conversation.system else None
    chat.say(f"system   {'none' if system is None else _short(system)}")
    chat.say(f"tools    {', '.join(conversation.toolbox.functions) or 'none'}")
    in_force = conversation.settings.sampling.filled(conversation.glm.sampling)
    given = [f"{name} {getattr(in_force, name)}" for name in SETTABLE if getattr(in_force, name) is not None]
    chat.say(f"sampling {', '.join(given)}")


def _tools(chat: ChatTerminal, _: str) -> None:
    """list the functions that the model may call"""
    for declared in chat.conversation.toolbox.declarations:
        function = declared["function"]
        arguments = ", ".join(function.get("parameters", {}).get("properties", {}))
        description = function.get("description", "").split("\n")[0]
        chat.say(f"{function['name']}({arguments})  {description}".rstrip())
    if not chat.conversation.toolbox.declarations:
        chat.say("none; --tools FILE.py declares the functions of a Python file, --mcp FILE the tools of servers")


def _file(chat: ChatTerminal, name: str) -> None:
    """put a text file before your next message"""
    path = _path(name)
    text = utf8_text(read_regular(path, MOST_FILE), str(path))
    chat.attached.append(f"{path.name}:\n\n{text}")
    chat.say(f"{path}: {len(text):,} characters go before your next message")


def _save(chat: ChatTerminal, name: str) -> None:
    """write the conversation to a JSON file"""
    path = _path(name)
    if not _may_write(chat, path):
        return
    write_transcript(path, chat.conversation.messages)
    chat.own_files.add(path.absolute())
    chat.say(f"saved {len(chat.conversation.messages)} messages to {path}")


def _load(chat: ChatTerminal, name: str) -> None:
    """continue a saved conversation"""
    path = _path(name)
    chat.conversation.messages = read_transcript(path)
    chat.count_tokens()
    chat.own_files.add(path.absolute())
    chat.say(f"loaded {len(chat.conversation.messages)} messages from {path}")


def _session(chat: ChatTerminal, name: str) -> None:
    """write the KV cache of system message and tools to a file, for --session"""
    path = _path(name)
    if not _may_write(chat, path):
        return
    chat.conversation.glm.save_session(path, chat.conversation.system, chat.conversation.toolbox.declarations)
    chat.own_files.add(path.absolute())
    chat.say(f"saved to {path}; --session {path} starts from it")


def _exit(chat: ChatTerminal, _: str) -> None:
    """quit"""
    chat.ended = True


def _path(name: str) -> Path:
    if not name:
        raise RequestError("no file is named", fix="write its name after the command")
    return expanded(name)


def _may_write(chat: ChatTerminal, path: Path) -> bool:
    """Ask before another file is replaced; RequestError where nobody can be asked."""
    if os.path.isdir(path):  # os.path, since a Path raises OSError for a name that is too long
        raise RequestError("this is a directory", path=path, fix="name a file in it")
    if not os.path.exists(path) or path.absolute() in chat.own_files:
        return True
    if not chat.may_ask:
        raise RequestError("the file exists already", path=path, fix="name another, or delete it first")
    try:
        if click.confirm(f"{path} exists already; replace it?", default=False, err=True):
            return True
    except click.Abort:
        click.echo(err=True)
    chat.say("nothing was written")
    return False


def _last(chat: ChatTerminal) -> str:
    if chat.conversation.last_question is None:
        raise RequestError("there is no message yet", fix="write one first")
    return chat.conversation.last_question


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
ARGUMENTS: Mapping[str, str] = MappingProxyType(
    {
        "/drop": "[off]",
        "/system": "[TEXT]",
        "/set": "[NAME [VALUE]]",
        **dict.fromkeys(("/file", "/save", "/load", "/session"), "FILE"),
    }
)
"""Command → its argument in /help; the others have none."""
ALIASES: Mapping[str, str] = MappingProxyType({"/clear": "/reset", "/bye": "/exit", "/quit": "/exit", "/?": "/help"})
"""Names that other programs have for the same commands."""


def completions() -> dict[str, Callable[[], list[str]] | None]:
    """Return every command with the completions of its argument; None completes names of files."""
    files = dict.fromkeys(("/file", "/save", "/load", "/session"))
    return {name: (lambda: []) for name in (*COMMANDS, *ALIASES)} | {
        "/set": lambda: list(SETTABLE),
        "/drop": lambda: ["on", "off"],
        **files,
    }
