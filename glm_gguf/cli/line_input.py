"""What the user types: lines with a history, and texts of several lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BLOCK = '"""'
MOST_HISTORY = 1000


def read_text() -> str | None:
    r"""Read one text; None at the end of input.

    A line that ends with a backslash goes on in the next; between two lines of three quotes everything is one text.
    """
    line = _read_line("> ")
    if line is None:
        return None
    if line.strip() == BLOCK:
        return "\n".join(_block())
    lines = [line]
    while lines[-1].endswith("\\") and (line := _read_line("… ")) is not None:
        lines[-1] = lines[-1].removesuffix("\\")
        lines.append(line)
    return "\n".join(lines)


def _block() -> Iterator[str]:
    while (line := _read_line("… ")) is not None and line.strip() != BLOCK:
        yield line


def _read_line(prompt: str) -> str | None:
    """Read one line; without a terminal no prompt is shown."""
    stdin = sys.stdin
    if not stdin.isatty():
        line = stdin.readline()
        return line.rstrip("\r\n") if line else None
    try:
        return input(prompt)
    except KeyboardInterrupt:  # meant for an answer that had just ended
        return ""
    except EOFError:
        return None


def history_file() -> Path:
    """Return where lines are remembered: the XDG state directory."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "glm-gguf" / "history"


@contextmanager
def line_history() -> Iterator[None]:
    """Give input() editing keys and the lines of earlier runs, where there is a terminal and Python has readline."""
    if not sys.stdin.isatty() or sys.platform == "win32":  # the console of Windows edits lines itself
        yield
        return
    try:
        import readline
    except ImportError:  # Python built without it
        yield
        return
    path = history_file()
    with suppress(OSError):
        readline.read_history_file(path)
    try:
        yield
    finally:
        readline.set_history_length(MOST_HISTORY)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(path)
