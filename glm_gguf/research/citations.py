"""Citations of a text written from sources: 【3†source】 becomes the number of a reference, in order of appearance."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from glm_gguf.research.research_events import Source
from glm_gguf.research.sources import SourceText

MOST_CITATION: Final = 64
"""Characters of a citation without its last mark; a longer text between the marks is none."""
MISSING: Final = "[?]"
"""Stands for a citation whose source does not exist."""
_CITATION: Final = re.compile(r"【[^\S\n]*(\d{1,6})[^\S\n]*(?:†[^【】\n]*)?】")


@dataclass(frozen=True, slots=True)
class Citation:
    """A place of the text, from `start` to before `end`, that names the reference `number`."""

    start: int
    end: int
    number: int


class CitationResolver:
    """Resolves the citations of a text while it is written. Feed it text in any pieces, then flush."""

    def __init__(self, sources: Sequence[SourceText]) -> None:
        self._sources = sources
        self._numbers: dict[int, int] = {}
        self._held = ""
        self._length = 0
        self.citations: list[Citation] = []
        """Where the resolved text names references."""
        self.missing: list[int] = []
        """Numbers that were cited and that no source has."""

    @property
    def references(self) -> tuple[Source, ...]:
        """The cited sources, numbered from 1 in the order in which they were cited."""
        cited = ((number, self._sources[index]) for index, number in self._numbers.items())
        return tuple(Source(number, source.title, source.address) for number, source in cited)

    def feed(self, text: str) -> str:
        """Take more text; return what is certain, with its citations resolved."""
        text = self._held + text
        start = text.rfind("【")
        if start < 0 or "】" in text[start:] or "\n" in text[start:] or len(text) - start > MOST_CITATION:
            start = len(text)
        self._held = text[start:]
        resolved, at = "", 0
        for found in _CITATION.finditer(text, 0, start):
            if len(found[0]) > MOST_CITATION + 1:  # it would not have been held back
                continue
            resolved += text[at : found.start()]
            resolved += self._resolved(int(found[1]), self._length + len(resolved))
            at = found.end()
        resolved += text[at:start]
        self._length += len(resolved)
        return resolved

    def flush(self) -> str:
        """Return what was held back: it is no citation."""
        held, self._held = self._held, ""
        return held

    def _resolved(self, index: int, start: int) -> str:
        if index >= len(self._sources):
            if index not in self.missing:
                self.missing.append(index)
            return MISSING
        number = self._numbers.setdefault(index, len(self._numbers) + 1)
        mark = f"[{number}]"
        self.citations.append(Citation(start, start + len(mark), number))
        return mark
