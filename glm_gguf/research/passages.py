"""Texts cut into passages, the units that a search ranks: whole paragraphs where they are short enough."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

MOST_CHARACTERS: Final = 1200
"""Characters of a passage."""
SNIPPET: Final = 280
"""Characters of a snippet."""
_PARAGRAPH: Final = re.compile(r"(?s).*?(?:\n\s*\n|\Z)")
_SENTENCE_END: Final = re.compile(r"[.!?]\s|[。！？\n]")


def passages(text: str) -> Iterator[str]:
    """Cut a text into passages of up to MOST_CHARACTERS. Joined, they are the text again."""
    held = ""
    for found in _PARAGRAPH.finditer(text):
        for piece in _pieces(found[0]):
            if held and len(held) + len(piece) > MOST_CHARACTERS:
                yield held
                held = ""
            held += piece
    if held:
        yield held


def _pieces(paragraph: str) -> Iterator[str]:
    """Cut a paragraph that is too long, behind the last sentence that fits."""
    start = 0
    while len(paragraph) - start > MOST_CHARACTERS:
        ends = [found.end() for found in _SENTENCE_END.finditer(paragraph, start, start + MOST_CHARACTERS)]
        end = ends[-1] if ends else start + MOST_CHARACTERS
        yield paragraph[start:end]
        start = end
    if start < len(paragraph):
        yield paragraph[start:]


def snippet(text: str, words: Sequence[str]) -> str:
    """Return up to SNIPPET characters of a passage in one line: where the most different words of a query stand."""
    line = " ".join(text.split())
    lowered = line.lower()
    if len(line) <= SNIPPET or len(lowered) != len(line):
        return line[:SNIPPET]
    present = {word for word in words if word in lowered}
    places = sorted((found.start(), word) for word in present for found in re.finditer(re.escape(word), lowered))
    start, most = 0, 0
    for place, _ in places:
        count = len({word for at, word in places if place <= at < place + SNIPPET - 40})
        if count > most:
            start, most = place, count
    start = max(0, min(start - 40, len(line) - SNIPPET))
    return f"{'…' if start else ''}{line[start : start + SNIPPET]}{'…' if start + SNIPPET < len(line) else ''}"
