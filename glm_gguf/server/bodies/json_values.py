"""What a body may hold: refused by its bytes before it is parsed, or by its values before anything else walks them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from glm_gguf.server.bodies.memory import BodyRefused
from glm_gguf.server.limits import Limits
from glm_gguf.server.problem import Problem

TEXT: Final = rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)'
"""A text of JSON, or the beginning of one that does not end."""
OPENING: Final = re.compile(TEXT + rb"|([\[{])", re.DOTALL)
COMMA: Final = re.compile(TEXT + rb"|(,)", re.DOTALL)
"""Outside of texts, as group 1: where a list or an object opens, and where a value follows another."""
HALF_PAIR: Final = re.compile(rb"\\u[dD][89a-fA-F]")
"""An escape that is half of a pair: emoji are written so, as are halves without the other."""
SURROGATE: Final = re.compile("[\ud800-\udfff]")
LARGE: Final = frozenset({"messages", "input", "prompt", "tools", "functions", "tokens"})
"""Fields whose entries have limits of their own."""


def require_short(body: bytes, limits: Limits) -> None:
    """Refuse JSON text that holds too much to be parsed."""
    if _has_more(body, OPENING, b"[{", limits.containers):
        raise _refused(f"The body has more than {limits.containers} lists and objects.")
    if _has_more(body, COMMA, b",", limits.numbers):
        raise _refused(f"The body has more than {limits.numbers} values.")


def require_modest(value: Any, body: bytes, limits: Limits) -> None:
    """Refuse what was parsed of a body where it is too deep or too much, or where a text in it is none."""
    level, levels, count = [value], 0, 0
    while level:
        count += len(level)
        if levels > limits.depth:
            raise too_deep(limits)
        if count > limits.values:
            raise _refused(f"The body has more than {limits.values} values that are no numbers in lists.")
        level = [item for value in level for item in _items(value)]
        levels += 1
    if isinstance(value, dict):
        _require_few_entries(value, limits)
    if HALF_PAIR.search(body):
        place = next(_halves(value, ""), None)
        if place is not None:
            where = f"{place}: half of a surrogate pair" if place else "A name of a field is half of a surrogate pair"
            raise _refused(f"{where}, which is no text.", place or None)


def too_deep(limits: Limits) -> BodyRefused:
    """Return the refusal of what is nested too deep."""
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
    """Tell whether JSON text has more of some marks; those in texts are none."""
    if sum(body.count(bytes([one])) for one in marks) <= most:
        return False
    found = (one for one in mark.finditer(body) if one[1])
    return next(islice(found, most, None), None) is not None


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return [item for item in value if type(item) not in (int, float)] if isinstance(value, list) else ()


def _halves(value: Any, place: str) -> Iterator[str]:
    """Find texts that hold half of a surrogate pair; a name that does is told as the place it stands in."""
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
