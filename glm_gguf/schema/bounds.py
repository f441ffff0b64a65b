"""Bounds of several schemas taken together: which types, numbers and lengths they leave."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil, floor, inf
from typing import Any, Final

KINDS: Final = frozenset(("null", "boolean", "object", "array", "number", "string"))
Parts = Sequence[dict[str, Any]]


def kinds(parts: Parts) -> tuple[set[str], bool]:
    """Return the types that all schemas allow, and whether numbers must be whole."""
    left, whole = set(KINDS), False
    for part in parts:
        if "type" in part:
            names = _names(part["type"])
            whole = whole or ("integer" in names and "number" not in names)
            left &= {"number" if name == "integer" else name for name in names}
    for part in parts:
        refused = part.get("not")
        if isinstance(refused, dict) and refused.keys() == {"type"}:
            names = _names(refused["type"])
            left -= names | ({"number"} if whole and "integer" in names else set())
    return left, whole


def spans(parts: Parts, least: str, most: str) -> tuple[float, float]:
    """Return the largest lower and the smallest upper bound of a count."""
    return max((part.get(least, 0) for part in parts), default=0), min(
        (part.get(most, inf) for part in parts), default=inf
    )


def no_number(parts: Parts, *, whole: bool) -> str | None:
    """Say why no number fits the bounds of all schemas; None if one does."""
    low = max(_bounds(parts, "minimum", "exclusiveMinimum", 1), default=None)
    high = max(_bounds(parts, "maximum", "exclusiveMaximum", -1), default=None)
    if low is None or high is None:
        return None
    least, most = low[0], -high[0]
    text = f"no number lies between {_short(least)} and {_short(most)}"
    if least > most or (least == most and (low[1] or high[1])):
        return text
    units = [Fraction(repr(part["multipleOf"])) for part in parts if "multipleOf" in part] + [Fraction(1)] * whole
    if any(_first(least, unit, strict=low[1]) > _last(most, unit, strict=high[1]) for unit in units):
        return text + " that is whole or a multiple as asked"
    return None


def _bounds(parts: Parts, inclusive: str, exclusive: str, sign: int) -> list[tuple[Fraction, bool]]:
    """Return the bounds on one side, each with whether it is exclusive; negated for `sign` -1."""
    found = [(sign * Fraction(repr(part[inclusive])), False) for part in parts if inclusive in part]
    return found + [(sign * Fraction(repr(part[exclusive])), True) for part in parts if exclusive in part]


def _first(least: Fraction, unit: Fraction, *, strict: bool) -> int:
    count = ceil(least / unit)
    return count + (strict and count * unit == least)


def _last(most: Fraction, unit: Fraction, *, strict: bool) -> int:
    count = floor(most / unit)
    return count - (strict and count * unit == most)


def _names(value: Any) -> set[str]:
    return set(value) if isinstance(value, list) else {value}


def _short(bound: Fraction | float) -> str:
    """Write a bound in a few digits; one beyond all floats is told by its sign."""
    try:
        return f"{float(bound):g}"
    except OverflowError:
        return "a number beyond all floats" if bound > 0 else "a number below all floats"
