"""The protocol of corpora: a query finds hits, an address opens a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Hit:
    """A page that a search found, and the part of its text that fits the query."""

    title: str
    address: str
    snippet: str


@dataclass(frozen=True, slots=True)
class Page:
    """The text of a page, as Markdown or plain text."""

    title: str
    address: str
    text: str


class Corpus(Protocol):
    """Where a model looks things up: a folder, a search engine, or an object of your own.

    Both methods raise CorpusError for what cannot be searched or opened. The model is told, and goes on.
    """

    def search(self, query: str, most: int = 10) -> Sequence[Hit]:
        """Return up to `most` hits, the best first."""

    def open(self, address: str) -> Page:
        """Return the page at the address of a hit, or at another one that the model knows."""
