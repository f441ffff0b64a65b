"""JSON as its specification has it: no NaN, no infinity, and no name twice in one object."""

from __future__ import annotations

import json
from typing import Any


def strict_json(text: str) -> Any:
    """Parse JSON; raises ValueError, and RecursionError for what is nested too deeply."""
    return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=unique)


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its members; ValueError where two have one name, since one of them would be passed over."""
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        doubled = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {doubled[:80]!r} occurs twice in one object")
    return made


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
