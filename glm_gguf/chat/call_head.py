r"""The head of a call: a line with a name, perhaps in a Markdown fence, and the opening brace of the arguments below.

```
name\n{…           ```\nname\n{…           ```name\n{…           name\n```json\n{…           {"name": … (Rumination)
```
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto

from glm_gguf.chat.json_object import may_begin_object

FENCE = "```"
_FENCE_LINE = re.compile(r"```[\w.+-]*")
_UNDECLARED_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
"""Undeclared names that count as calls: OpenAI's alphabet and length, and dots."""


MOST_BLANK = 256
"""Most blank characters around a name, and before the brace: the parser holds no endless blank space."""


@dataclass(frozen=True, slots=True)
class Head:
    """A name (None in Rumination's form), the offset of the brace, and whether a fence is open."""

    name: str | None
    end: int
    fenced: bool = False


class NoHead(Enum):
    """Why a text is no head."""

    YET = auto()
    """More text can make it a head."""
    EVER = auto()
    """No more text can make it a head."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A stripped line, whether it is complete, the offset behind it, and whether it has too much blank space."""

    text: str
    complete: bool
    end: int
    far: bool
    """More blank space was around it than a call may have."""


class HeadReader:
    """Reads heads at the beginning of a line."""

    def __init__(self, functions: Collection[str], *, json_calls: bool) -> None:
        self._functions = frozenset(functions)
        self._json_calls = json_calls

    def read(self, text: str) -> Head | NoHead:
        """Read the head that a text begins with."""
        if self._json_calls and may_begin_object(text):
            return Head(None, 0)
        if text.lstrip().startswith("`"):
            return self._read_fenced(text)
        return self._read_named(text, 0, fenced=False)

    def _read_fenced(self, text: str) -> Head | NoHead:
        fence = _line(text, 0)
        if fence.far:
            return NoHead.EVER
        if not fence.complete:
            return NoHead.YET if _may_be_fence(fence.text) or self._may_name(fence.text) else NoHead.EVER
        name = fence.text.removeprefix(FENCE).strip()
        if name in self._functions and fence.text.startswith(FENCE):
            return self._read_brace(text, name, fence.end, fenced=True)
        if not _FENCE_LINE.fullmatch(fence.text):
            return NoHead.EVER
        if self._json_calls and may_begin_object(text[fence.end :].lstrip()):
            return Head(None, _skip_blank(text, fence.end), fenced=True)
        return self._read_named(text, fence.end, fenced=True)

    def _read_named(self, text: str, start: int, *, fenced: bool) -> Head | NoHead:
        """Read the line of the name."""
        line = _line(text, start)
        if line.far:
            return NoHead.EVER
        if not line.complete:
            return NoHead.YET if self._may_begin(line.text) else NoHead.EVER
        if not self._is_name(line.text):
            return NoHead.EVER
        return self._read_brace(text, line.text, line.end, fenced=fenced)

    def _read_brace(self, text: str, name: str, start: int, *, fenced: bool) -> Head | NoHead:
        """Find the brace below the name; a fence may stand between them."""
        offset = _skip_blank(text, start)
        if text.startswith("`", offset) and name in self._functions and not fenced:
            fence = _line(text, offset)
            if not fence.complete and not fence.far:
                return NoHead.YET if _may_be_fence(fence.text) else NoHead.EVER
            if fence.far or not _FENCE_LINE.fullmatch(fence.text):
                return NoHead.EVER
            offset, fenced = _skip_blank(text, fence.end), True
        if offset - start > MOST_BLANK:
            return NoHead.EVER
        if offset == len(text):
            return NoHead.YET
        return Head(name, offset, fenced) if may_begin_object(text[offset : offset + 65]) else NoHead.EVER

    def _may_begin(self, line: str) -> bool:
        """Tell whether an unfinished line can become a name's line."""
        return not line or self._begins_name(line) or self._is_name(line)

    def _may_name(self, fence: str) -> bool:
        """Tell whether an unfinished fence line can go on as a declared name."""
        return fence.startswith(FENCE) and self._begins_name(fence.removeprefix(FENCE).strip())

    def _begins_name(self, text: str) -> bool:
        return any(function.startswith(text) for function in self._functions)

    def _is_name(self, line: str) -> bool:
        return line in self._functions or _UNDECLARED_NAME.fullmatch(line) is not None


def _line(text: str, start: int) -> _Line:
    end = text.find("\n", start)
    complete = end >= 0
    whole = text[start : end if complete else len(text)]
    bare = whole.strip()
    return _Line(bare, complete, end + 1, len(whole) - len(bare) > MOST_BLANK)


def _skip_blank(text: str, start: int) -> int:
    """Return the offset of the first character from `start` that is not blank."""
    return len(text) - len(text[start:].lstrip())


def _may_be_fence(line: str) -> bool:
    return FENCE.startswith(line) or _FENCE_LINE.fullmatch(line) is not None
