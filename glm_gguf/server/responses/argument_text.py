"""The one text in the arguments of a call, as it comes: JSON's escapes read, halves of them held back."""

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
"""As much of a JSON text as is certain."""


class ArgumentText:
    """Reads `{"NAME": "text"}` piece by piece: `feed` and `flush` return the text as it becomes certain."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._head = re.compile(rf'\s*\{{\s*"{re.escape(name)}"\s*:\s*"')
        self._whole = ""
        self._rest: str | None = None  # of the text, not read yet; None before it begins

    def feed(self, arguments: str) -> str:
        """Take more of the arguments."""
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
        """Say that the arguments are complete: those of another form are the text themselves."""
        if self._rest is not None:
            return ""
        try:
            value = json.loads(self._whole)
        except (ValueError, RecursionError):
            return self._whole
        text = value.get(self._name) if isinstance(value, dict) else None
        return _plain(text) if isinstance(text, str) else self._whole


def _decoded(escaped: str) -> str:
    """Read a piece of a JSON text."""
    return _plain(json.loads(f'"{escaped}"', strict=False))


def _plain(text: str) -> str:
    """Bend halves of surrogate pairs, which no UTF-8 can hold."""
    return text.encode(errors="replace").decode()
