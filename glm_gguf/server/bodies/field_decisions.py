"""The decision on a field that no schema declares, and which values request nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

NOTHING: Final = ("", "off", "default")
"""Texts that request nothing in any field."""
_EMPTY_ASKS: Final = frozenset({"web_search_options"})


@dataclass(frozen=True, slots=True)
class NoEffect:
    """The field changes no answer."""

    of: str
    """The APIs or servers that define it."""
    why: str


@dataclass(frozen=True, slots=True)
class IgnoredField:
    """The server ignores the field; a header of the response names it."""

    of: str
    why: str


@dataclass(frozen=True, slots=True)
class RefusedField:
    """Without the field the answer would not be the requested one."""

    of: str
    why: str
    off: tuple[Any, ...] = ()
    """Values that request nothing, besides null, false and empty ones."""


KnownField = NoEffect | IgnoredField | RefusedField


def asks_by_presence(name: str, value: Any) -> bool:
    """Return whether an empty object requests something in this field: all of it by default."""
    return value == {} and name in _EMPTY_ASKS


def asks_for_nothing(value: Any, off: Iterable[Any] = ()) -> bool:
    """Return whether a value equals a missing field; if true does, false does not."""
    if value is False or (isinstance(value, str) and value.lower() == "off"):
        return not any(nothing is True for nothing in off)
    if value is None or (isinstance(value, str | list | dict) and not value):
        return True
    if isinstance(value, str) and value.lower() in NOTHING:
        return True
    return any(value == nothing and isinstance(value, bool) == isinstance(nothing, bool) for nothing in off)
