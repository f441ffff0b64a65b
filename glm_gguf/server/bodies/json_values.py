"""Limits of a body's content: checked on its bytes before parsing, then on its values before any other use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from glm_gguf.server.bodies.memory import BodyRefused
from glm_gguf.server.limits import Limits
from glm_gguf.server.problem import Problem

TEXT: Final = rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)'
"""A JSON string, complete or cut off."""
OPENING: Final = re.compile(TEXT + rb"|([\[{])", re.DOTALL)
COMMA: Final = re.compile(TEXT + rb"|(,)", re.DOTALL)
"""Group 1, outside strings: the start of a list or an object, or a comma."""
HALF_PAIR: Final = re.compile(rb"\\u[dD][89a-fA-F]")
"""An escape of a surrogate, in a pair or alone."""
SURROGATE: Final = re.compile("[\ud800-\udfff]")
LARGE: Final = frozenset({"messages", "input", "prompt", "tools", "functions", "tokens"})
"""Fields whose entries have limits of their own."""


def require_short(body: bytes, limits: Limits) -> None:
    """Refuse JSON text with too many values, before it is parsed."""
    if _has_more(body, OPENING, b"[{", limits.containers):
        raise _refused(f"The body has more than {limits.containers} lists and objects.")
    if _has_more(body, COMMA, b",", limits.numbers):
        raise _refused(f"The body has more than {limits.numbers} values.")


def require_modest(value: Any, body: bytes, limits: Limits) -> None:
    """Refuse a parsed body that is too deep, too large, or holds half of a surrogate pair."""
    level, levels, count = [value], 0, 0
    while level:
        count += len(level)
        if levels > limits.depth:
            raise too_deep(limits)
        if count > limits.values:
            raise _refused(f"The body has more than {limits.values} values besides numbers in lists.")
        level = [item for value in level for item in _items(value)]
        levels += 1
    if isinstance(value, dict):
        _require_few_entries(value, limits)
    if HALF_PAIR.search(body):
        place = next(_halves(value, ""), None)
        if place is not None:
            where = f"{place}: half of a surrogate pair" if place else "The name of a field is half of a surrogate pair"
            raise _refused(f"{where}, which is not valid text.", place or None)


def too_deep(limits: Limits) -> BodyRefused:
    """Return the error for a body that is nested too deep."""
    return _refused(f"The body has more than {limits.depth} levels of lists and objects.")


def characters(values: Iterable[Any]) -> int:
    """Count the characters of all texts in JSON values."""
    count, level = 0, list(values)
    while level:
        value = level.pop()
        if isinstance(value, str):
            count += len(value)
        elif isinstance(value, dict):
            level += [*value, *value.values()]
        elif isinstance(value, list | tuple):
            level += value
    return count


def _require_few_entries(body: dict[str, Any], limits: Limits) -> None:
    if len(body) > limits.entries:
        raise _refused(f"The body has more than {limits.entries} fields.")
    for name, value in body.items():
        if isinstance(value, dict | list) and name not in LARGE and len(value) > limits.entries:
            raise _refused(f"{name}: {len(value)} are too many; give up to {limits.entries}.", name)


def _has_more(body: bytes, mark: re.Pattern[bytes], marks: bytes, most: int) -> bool:
    """Return whether JSON text has more than `most` of some marks outside strings."""
    if sum(body.count(bytes([one])) for one in marks) <= most:
        return False
    found = (one for one in mark.finditer(body) if one[1])
    return next(islice(found, most, None), None) is not None


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return [item for item in value if type(item) not in (int, float)] if isinstance(value, list) else ()


def _halves(value: Any, place: str) -> Iterator[str]:
    """Yield the paths of strings with half of a surrogate pair; for a key, the path of its object."""
    if isinstance(value, str) and SURROGATE.search(value):
        yield place
    elif isinstance(value, dict):
        for name, inner in value.items():
            if SURROGATE.search(name):
                yield place
            else:
                yield from _halves(inner, f"{place}.{name}" if place else name)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _halves(inner, f"{place}[{index}]")


def _refused(message: str, param: str | None = None) -> BodyRefused:
    return BodyRefused(Problem(400, message, param=param))
