"""Decide which known name a misspelled one means: one or two letters differ, and no whole word.

A whole word more, or a digit, makes another name: `message_id` is not `messages`, `metadata2` is not `metadata`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

LONGEST: Final = 64
"""Letters of the longest name that is compared."""
SHORT_NAME: Final = 4
"""Up to so many letters a changed letter makes another name: `step` is not `stop`."""
LONG_NAME: Final = 8
"""From so many letters on, two edits are a misspelling."""
OTHER: Final = 99
"""More edits than any misspelling has."""
_CAPITAL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_DIGIT: Final = re.compile(r"[0-9]")


@dataclass(frozen=True, slots=True)
class _Spelling:
    """A name, its words, and all their letters."""

    name: str
    words: tuple[str, ...]
    bare: str
    letters: frozenset[str]


def meant_name(name: str, known: Collection[str], most: int = 2) -> str | None:
    """Return the known name nearest to a misspelled one, within `most` edits; None if none is near enough."""
    if len(name) > LONGEST:
        return None
    written = _spelling(name)
    near = [(count, one.name) for one in _spellings(frozenset(known)) if (count := _edits(written, one)) <= most]
    return min(near)[1] if near else None


def edits(one: str, other: str) -> int:
    """Count the letters to insert, delete, replace or swap with their neighbour (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for index, letter in enumerate(one):
        last, row = row, [index + 1]
        for place, wanted in enumerate(other):
            best = min(last[place + 1] + 1, row[place] + 1, last[place] + (letter != wanted))
            if index and place and letter == other[place - 1] and wanted == one[index - 1]:
                best = min(best, before[place - 1] + 1)
            row.append(best)
        before = last
    return row[-1]


def _edits(name: _Spelling, known: _Spelling) -> int:
    """Return the number of edits between two names if one misspells the other, else OTHER."""
    most = 2 if len(known.bare) >= LONG_NAME else 1
    # An edit changes the length by one and the set of letters by two, at most.
    if abs(len(name.bare) - len(known.bare)) > most or len(name.letters ^ known.letters) > 2 * most:
        return OTHER
    if _DIGIT.findall(name.bare) != _DIGIT.findall(known.bare):
        return OTHER
    count = edits(name.bare, known.bare)
    replaced = len(name.bare) == len(known.bare) and name.letters != known.letters
    if count > most or (replaced and len(known.bare) <= SHORT_NAME):
        return OTHER
    if len(name.words) == len(known.words):
        pairs = zip(name.words, known.words, strict=True)
        same = all(edits(one, other) <= _most_edits(other) for one, other in pairs)
    else:
        same = count <= 1 and not {*name.words} >= {*known.words}
    return count if same else OTHER


def _most_edits(word: str) -> int:
    """Return how many edits leave a word the same: `max` does not become `min`, nor `k` `n`."""
    return 0 if len(word) <= 2 else 1 if len(word) <= SHORT_NAME else 2


@lru_cache(maxsize=64)
def _spellings(names: frozenset[str]) -> tuple[_Spelling, ...]:
    return tuple(_spelling(name) for name in sorted(names))


def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name, in snake_case, camelCase or with hyphens; none of a name beyond all names."""
    if len(name) > LONGEST:
        return ()
    return tuple(word for word in _CAPITAL.sub("_", name).replace("-", "_").lower().split("_") if word)


def _spelling(name: str) -> _Spelling:
    words = words_of(name)
    bare = "".join(words)
    return _Spelling(name, words, bare, frozenset(bare))
