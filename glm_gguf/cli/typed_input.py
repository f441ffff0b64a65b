"""Messages for `chat` typed on a terminal: prompt_toolkit's editor with history and completion."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import create_output

from glm_gguf.cli.piped_input import BLOCK
from glm_gguf.home_directory import user_home
from glm_gguf.private_file import touch_private

PROMPT, CONTINUED = "> ", "… "
MENU_ROWS = 6


def history_path() -> Path | None:
    """Return the file of earlier messages, in the XDG state directory; None without a home."""
    named, home = os.environ.get("XDG_STATE_HOME"), user_home()
    state = Path(named) if named else home and home / ".local" / "state"
    return state and state / "glm-gguf" / "chat-history"


class TypedInput:
    """Typed messages: Enter sends, Alt-Enter begins a line, Ctrl-X Ctrl-E opens an editor, Tab completes."""

    def __init__(self, commands: Mapping[str, Callable[[], Sequence[str]] | None]) -> None:
        self._session: PromptSession[str] = PromptSession(
            PROMPT,
            multiline=True,
            prompt_continuation=CONTINUED,
            key_bindings=_keys(),
            history=_history(history_path()),
            completer=SlashCompleter(commands),
            complete_while_typing=False,
            reserve_space_for_menu=MENU_ROWS,
            enable_open_in_editor=True,
            tempfile_suffix=".md",
            output=create_output(always_prefer_tty=True),
        )

    def read(self) -> str | None:
        """Return the next message; None for Ctrl-D, an empty one for Ctrl-C, which begins a new line.

        Bytes that are not UTF-8, as a paste may hold them, become U+FFFD.
        """
        try:
            typed = _typed(self._session.prompt())
            return typed.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        except KeyboardInterrupt:
            return ""
        except EOFError:
            return None


class SlashCompleter(Completer):
    """Completes commands, and after them what their function lists; names of files where it is None."""

    def __init__(self, commands: Mapping[str, Callable[[], Sequence[str]] | None]) -> None:
        self._commands = commands
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """List the completions at the cursor."""
        name, blank, argument = document.text_before_cursor.partition(" ")
        if not blank:
            yield from _beginning_with(name, [*self._commands] if name.startswith("/") else [])
        elif name in self._commands:
            listed = self._commands[name]
            if listed is None:
                yield from self._paths.get_completions(Document(argument), complete_event)
            else:
                yield from _beginning_with(argument, listed())


def _beginning_with(word: str, known: Sequence[str]) -> Iterator[Completion]:
    yield from (Completion(name, -len(word)) for name in known if name.startswith(word))


def _keys() -> KeyBindings:
    """Let Enter end a text unless it visibly continues; pasted line ends are part of it."""
    keys = KeyBindings()

    @keys.add("enter")
    @keys.add("c-j")  # Enter, as the terminal spells it while an answer is written
    def enter(event: KeyPressEvent) -> None:
        buffer = get_app().current_buffer
        if _continues(buffer.text):
            buffer.newline(copy_margin=False)
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    @keys.add("escape", "c-j")
    def newline(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    return keys


def _continues(text: str) -> bool:
    r"""Tell whether a text continues: it ends with a backslash, or a block of three quotes is open."""
    lines = text.split("\n")
    if lines[0].strip() == BLOCK:
        return len(lines) == 1 or lines[-1].strip() != BLOCK
    return text.endswith("\\")


def _typed(text: str) -> str:
    """Return a text without the quotes around it, or without the backslashes at ends of lines."""
    lines = text.split("\n")
    if len(lines) > 1 and lines[0].strip() == BLOCK == lines[-1].strip():
        return "\n".join(lines[1:-1])
    return "\n".join([*(line.removesuffix("\\") for line in lines[:-1]), lines[-1]])


class _TolerantHistory(FileHistory):
    """A history that works as far as its file can be read and written."""

    def load_history_strings(self) -> Iterable[str]:
        with suppress(OSError):
            return list(super().load_history_strings())
        return []

    def store_string(self, string: str) -> None:
        with suppress(OSError):
            super().store_string(string)


def _history(path: Path | None) -> History:
    """Open the file of earlier messages, which only its owner may read; without one, keep them until the end."""
    if path is None:
        return InMemoryHistory()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        touch_private(path)
    except OSError:
        return InMemoryHistory()
    return _TolerantHistory(str(path))
