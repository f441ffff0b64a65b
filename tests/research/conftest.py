"""Models with the templates of the research, and a small corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from glm_gguf.errors import CorpusError
from glm_gguf.research.corpus import Hit, Page


@dataclass
class SmallCorpus:
    """Two pages about a light, one that is dead, and a record of what was asked."""

    asked: list[str] = field(default_factory=list)
    pages: dict[str, str] = field(
        default_factory=lambda: {"a.test/one": "The keeper is Ansel.", "a.test/two": "The oil is of seals. " * 100}
    )

    def search(self, query: str, most: int = 10) -> Sequence[Hit]:
        self.asked.append(f"search {query}")
        if query == "broken":
            raise CorpusError("no engine answered", where="http://localhost:8888")
        if query == "wild":
            raise ZeroDivisionError("division by zero")
        if query == "nothing":
            return []
        return [Hit("One", "a.test/one", "keeper"), Hit("Two", "a.test/two", "oil"), Hit("Dead", "a.test/dead", "gone")]

    def open(self, address: str) -> Page:
        self.asked.append(f"open {address}")
        if address not in self.pages:
            raise CorpusError("the server answered with status 404", where=address)
        return Page(address.rpartition("/")[2].title(), address, self.pages[address])


@pytest.fixture
def corpus() -> SmallCorpus:
    return SmallCorpus()
