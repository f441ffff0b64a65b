"""The code blocks of the documents, for the tests that run them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
DOCUMENTS = [
    *(REPOSITORY / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, its language, its text."""

    page: str
    section: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}-{self.section}"


def blocks(language: str, *pages: Path) -> list[Block]:
    """All blocks of a language, of some pages or of all."""
    return [block for page in pages or DOCUMENTS for block in _blocks(page) if block.language == language]


def _blocks(page: Path) -> Iterator[Block]:
    title = "top"
    for head, language, text in re.findall(r"(?ms)^#+ ([^\n]+)$|^```(\w*)\n(.*?)^```$", page.read_text("utf-8")):
        if head:
            title = head
        else:
            yield Block(page.relative_to(REPOSITORY).as_posix(), title, language, text)
