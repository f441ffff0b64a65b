"""A batch's input: every line checked and indexed before one is answered."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from typing import Final

from glm_gguf.batches.line_index import Extent, LineIndex, PlacedLine
from glm_gguf.batches.prompt_order import prompt_blocks
from glm_gguf.batches.request_line import LineError, read_line

LONGEST_LINE: Final = 17 * 2**20
"""Bytes: a little more than the largest body that the server reads."""
MOST_ERRORS: Final = 50
"""Errors that are listed; a file of another kind has one in each line."""


@dataclass(frozen=True, slots=True)
class CheckedInput:
    """What a whole input holds."""

    n_lines: int
    n_bytes: int
    sha256: str
    errors: tuple[LineError, ...]


@dataclass(frozen=True, slots=True)
class InputRules:
    """What an input may hold."""

    endpoint: str | None = None
    """The url of all lines; None for any."""
    most_lines: int | None = None


def check_input(file: BufferedReader, index: LineIndex, rules: InputRules) -> CheckedInput:
    """Read all lines into the index, and find up to MOST_ERRORS wrong ones; blank lines are passed over."""
    digest, errors, count, end = hashlib.sha256(), list[LineError](), 0, 0
    for placed, data in _lines(file):
        digest.update(data)
        end = placed.extent.offset + len(data)
        if not data.strip():
            continue
        count += 1
        error = _added(placed, data, index, rules)
        if error is None and rules.most_lines is not None and count > rules.most_lines:
            error = LineError("too_many_tasks", f"The file has more than {rules.most_lines} requests.", None)
        if error is not None:
            errors.append(error)
        if len(errors) == MOST_ERRORS or (error is not None and error.code in ("line_too_long", "too_many_tasks")):
            break
    if not count:
        errors.append(LineError("empty_file", "The file has no request.", None))
    return CheckedInput(count, end, digest.hexdigest(), tuple(errors))


def _added(placed: PlacedLine, data: bytes, index: LineIndex, rules: InputRules) -> LineError | None:
    """Add a line to the index, or return what is wrong with it."""
    if len(data) > LONGEST_LINE:
        return LineError("line_too_long", f"The line has more than {LONGEST_LINE} bytes.", placed.number)
    line = read_line(data, placed.number, rules.endpoint)
    if isinstance(line, LineError):
        return line
    if not index.add(placed, line.custom_id, prompt_blocks(line.url, line.body)):
        first = index.number_of(line.custom_id)
        what = f"custom_id: line {first} has {line.custom_id[:100]!r} too."
        return LineError("duplicate_custom_id", what, placed.number, "custom_id")
    return None


def _lines(file: BufferedReader) -> Iterator[tuple[PlacedLine, bytes]]:
    """Yield every line with its number and place; one that is too long is cut."""
    number, offset = 0, 0
    while data := file.readline(LONGEST_LINE + 1):
        number += 1
        yield PlacedLine(number, Extent(offset, len(data))), data
        offset += len(data)


def read_extent(file: BufferedReader, extent: Extent) -> bytes:
    """Read a part of a file."""
    file.seek(extent.offset)
    return file.read(extent.length)
