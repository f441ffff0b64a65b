"""A JSON object inside running text: where it ends, and its value."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, NoReturn

_STRING: Final = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN: Final = re.compile(
    rf"[ \t\n\r]*+(?:(?P<mark>[{{}}\[\],:])|(?P<text>{_STRING})|(?P<scalar>[-0-9][-+.0-9eE]*+|true|false|null))",
    re.DOTALL,
)
_VALUES: Final = {"text": "more", "scalar": "more", "{": "key or end", "[": "value or end"}
_FOLLOWS: Final[dict[str, dict[str, str]]] = {
    "object": {"{": "key or end"},
    "key or end": {"text": "colon", "}": "more"},
    "key": {"text": "colon"},
    "colon": {":": "value"},
    "value": _VALUES,
    "value or end": {**_VALUES, "]": "more"},
    "more": {",": "another", "}": "more", "]": "more"},
}
"""Expected kind of token → token found → kind expected next."""
_OPENING: Final = {"}": "{", "]": "["}


@dataclass(frozen=True, slots=True)
class JsonObject:
    """A decoded object and its JSON text: the original if it was valid, else rewritten."""

    value: dict[str, Any]
    text: str


class ObjectExtent:
    """Finds the closing brace of an object whose text arrives in pieces; reads each character once."""

    def __init__(self) -> None:
        self._depth = 0
        self._quote = ""
        self._escaped = False
        self._seen = 0

    def find_end(self, text: str) -> int | None:
        """Return the offset behind the brace that closes the one `text` begins with; None while it is open.

        Every call gets the text of the call before, with more behind it.
        """
        for offset in range(self._seen, len(text)):
            if self._closes(text[offset]):
                return offset + 1
        self._seen = len(text)
        return None

    def _closes(self, character: str) -> bool:
        """Read one character; True if it closes the object."""
        if self._quote:
            self._step_in_string(character)
        elif character in "\"'":
            self._quote = character
        elif character in "{[":
            self._depth += 1
        elif character in "}]":
            self._depth -= 1
            return self._depth == 0
        return False

    def _step_in_string(self, character: str) -> None:
        if self._escaped:
            self._escaped = False
        elif character == "\\":
            self._escaped = True
        elif character == self._quote:
            self._quote = ""


class Scan(NamedTuple):
    """The offset behind an object, None if there is none; and the offset up to which the text was read."""

    end: int | None
    seen: int


def scan_object(text: str, start: int) -> Scan:
    """Find the end of the object that begins at `start`.

    Python's decoder counts the lines of all text before an error: many errors would take quadratic time.
    """
    opened: list[str] = []
    position, awaited = start, "object"
    while (token := _TOKEN.match(text, position)) is not None:
        position = token.end()
        kind = token["mark"] or str(token.lastgroup)
        awaited = _FOLLOWS[awaited].get(kind, "")
        if not awaited or (kind in _OPENING and opened.pop() != _OPENING[kind]):
            break
        if kind in ("{", "["):
            opened.append(kind)
        if not opened:
            return Scan(position if decode_object(text[start:position]) is not None else None, position)
        if awaited == "another":
            awaited = "key" if opened[-1] == "{" else "value"
    return Scan(None, position)


def may_begin_object(text: str) -> bool:
    """Tell whether text may go on as an object: a brace, and behind it a quote or the closing brace."""
    inner = text[1:64].lstrip()
    return text.startswith("{") and (not inner or inner[0] in "\"'}")


def decode_object(text: str) -> JsonObject | None:
    """Decode text that is exactly one object; else None. Strings may hold raw line breaks."""
    value = _decode(text, strict=True)
    if value is not None:
        return JsonObject(value, text)
    value = _decode(text, strict=False)
    return None if value is None else JsonObject(value, json.dumps(value, ensure_ascii=False))


def _decode(text: str, *, strict: bool) -> dict[str, Any] | None:
    try:
        value, end = _DECODERS[strict].raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and end == len(text) else None


def _refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and the infinities: Python's decoder accepts them, JSON does not."""
    raise ValueError(name)


def _finite(text: str) -> float:
    """Read a number; ValueError for one beyond all floats, which would be written as Infinity."""
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


_DECODERS = {
    strict: json.JSONDecoder(strict=strict, parse_constant=_refuse_constant, parse_float=_finite)
    for strict in (True, False)
}
