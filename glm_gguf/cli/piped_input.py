"""Messages for `chat` from a pipe or a file: a line each, or several lines between quotes."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator

from glm_gguf.cli.utf8_text import from_surrogates

BLOCK = '"""'


class PipedInput:
    r"""Messages from standard input.

    A line that ends with a backslash continues on the next; two lines of three quotes enclose one message.
    """

    def __init__(self) -> None:
        # Messages and answers to questions share the stream, so it is read and decoded line by line.
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")

    def read(self) -> str | None:
        """Return the next message; None at the end of input, RequestError for bytes that are not UTF-8."""
        line = _read_line()
        if line is None:
            return None
        lines = list(_block()) if line.strip() == BLOCK else list(_continued(line))
        return from_surrogates("\n".join(lines), "standard input")


def _continued(line: str) -> Iterator[str]:
    while line.endswith("\\") and (following := _read_line()) is not None:
        yield line.removesuffix("\\")
        line = following
    yield line


def _block() -> Iterator[str]:
    while (line := _read_line()) is not None and line.strip() != BLOCK:
        yield line


def _read_line() -> str | None:
    line = sys.stdin.readline()
    return line.rstrip("\r\n") if line else None
