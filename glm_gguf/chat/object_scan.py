"""Where a JSON object inside running text ends, told at the first token that no object has there."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from glm_gguf.chat.json_object import decode_object

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
"""What is awaited → the token that comes → what is awaited then."""
_OPENING: Final = {"}": "{", "]": "["}


class Scan(NamedTuple):
    """The offset behind an object, None where there is none; and the offset up to which the text was looked at."""

    end: int | None
    seen: int


def scan_object(text: str, start: int) -> Scan:
    """Find the end of the object that begins at `start`.

    Python's decoder counts the lines of all the text before an error, so that many errors take quadratic time.
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
