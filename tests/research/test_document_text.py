"""Titles of documents, found in linear time."""

from __future__ import annotations

import time

import pytest

from glm_gguf.research.document_text import document_text
from glm_gguf.research.search_terms import query_expressions

HEADINGS = {
    "# Slate": "Slate",
    "### Slate ##": "Slate",
    "# C#": "C#",
    "# a # b #": "a # b",
    "# ##": "notes",
    "#x": "notes",
}


@pytest.mark.parametrize(("line", "title"), HEADINGS.items(), ids=HEADINGS)
def test_a_heading_is_the_title(line: str, title: str) -> None:
    assert document_text("notes.md", f"First.\n\n{line}\nMore.".encode()).title == title


def test_long_lines_and_queries_are_read_in_linear_time() -> None:
    begun = time.process_time()
    document_text("notes.md", b"# a" + b" " * 300_000 + b"b")
    query_expressions("“" * 300_000)
    assert time.process_time() - begun < 30  # seconds; each took hundreds
