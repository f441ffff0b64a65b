"""Decodes the one text in a call's arguments as it streams; incomplete escapes are held back."""

from __future__ import annotations

import json
import re
from typing import Final

_PIECE: Final = re.compile(
    r"""
    (?: [^"\\]                                              # a character that stands for itself
      | \\ ["\\/bfnrt]
      | \\u [dD][89abAB][0-9a-fA-F]{2} \\u [dD][c-fC-F][0-9a-fA-F]{2}   # a pair of surrogates
      | \\u (?![dD][89abAB]) [0-9a-fA-F]{4}
      | \\u [dD][89abAB][0-9a-fA-F]{2} (?= [^\\] | \\[^u] | \\u[^dD] | \\u[dD][^c-fC-F] )   # half of one, alone
    )*
    """,
    re.VERBOSE,
)
"""The part of a JSON string that is already certain."""


class ArgumentText:
    """Decodes `{"NAME": "text"}` piece by piece: `feed` and `flush` return the text that is certain."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._head = re.compile(rf'\s*\{{\s*"{re.escape(name)}"\s*:\s*"')
        self._whole = ""
        self._rest: str | None = None  # undecoded text; None before it begins

    def feed(self, arguments: str) -> str:
        """Decode more of the arguments."""
        if self._rest is None:
            self._whole += arguments
            head = self._head.match(self._whole)
            if head is None:
                return ""
            self._rest = self._whole[head.end() :]
        else:
            self._rest += arguments
        certain = _PIECE.match(self._rest)
        assert certain is not None  # it may be empty
        self._rest = self._rest[certain.end() :]
        return _decoded(certain.group())

    def flush(self) -> str:
        """End the arguments; arguments of another form are returned as they are."""
        if self._rest is not None:
            return ""
        try:
            value = json.loads(self._whole)
        except (ValueError, RecursionError):
            return self._whole
        text = value.get(self._name) if isinstance(value, dict) else None
        return _plain(text) if isinstance(text, str) else self._whole


def _decoded(escaped: str) -> str:
    """Decode a piece of a JSON string."""
    return _plain(json.loads(f'"{escaped}"', strict=False))


def _plain(text: str) -> str:
    """Replace halves of surrogate pairs, which UTF-8 cannot hold."""
    return text.encode(errors="replace").decode()
