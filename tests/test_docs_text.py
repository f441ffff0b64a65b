"""The documents are written in short sentences, and every decision has its parts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from documents import DOCUMENTS, REPOSITORY

WRITTEN_BY_SCRIPTS = {"server-fields.md", "cli.md"}
MOST_WORDS = 25
ON_THE_SITE = [path for path in DOCUMENTS if path.name != "ARCHITECTURE.md"]
MOST_CHARACTERS = 88
"""Of a line of code. The site shows 80 beside its menus in a window of 1280 pixels, and wraps longer lines."""
DECISIONS = [
    pytest.param(title, text, id=f"{path.stem}-{title}")
    for path in sorted((REPOSITORY / "docs" / "decisions").glob("*.md"))
    for title, text in re.findall(r"(?ms)^## ([^\n]+)\n(.*?)(?=^## |\Z)", path.read_text("utf-8"))
]


def sentences(markdown: str) -> Iterator[str]:
    """Yield the sentences of a document: without code, tables and titles; an item of a list begins a new one."""
    prose = re.sub(r"(?ms)^```.*?^```", "", markdown)
    prose = re.sub(r"(?m)^(\||#|:::|--8<--|!!!).*$", "\n", prose)
    prose = re.sub(r"(?m)^\s*(-|\d+\.) ", "\n\n", prose)
    prose = re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "code", prose))
    for paragraph in re.split(r"\n\s*\n", prose):
        yield from re.split(r"(?<=[.!?:;])[\s*_)]+", " ".join(paragraph.split()))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_sentences_are_short(path: Path) -> None:
    if path.name in WRITTEN_BY_SCRIPTS:
        pytest.skip("a script writes it")
    long = [sentence for sentence in sentences(path.read_text("utf-8")) if len(sentence.split()) > MOST_WORDS]
    assert long == []


@pytest.mark.parametrize(("title", "text"), DECISIONS)
def test_a_decision_has_a_sentence_as_title_its_context_and_what_was_decided(title: str, text: str) -> None:
    assert len(title.split()) >= 3
    parts = re.findall(r"(?m)^\*\*(\w+)\.\*\* ", text)
    assert parts in (["Context", "Decision"], ["Context", "Decision", "Numbers"])


def test_the_text_of_a_long_sentence_is_found() -> None:
    words = " ".join(["word"] * (MOST_WORDS + 1))
    found = [len(sentence.split()) for sentence in sentences(f"# Title\n\n- {words}.\n\n| {words} |\n")]
    assert max(found) == MOST_WORDS + 1
    assert sum(found) == MOST_WORDS + 1


@pytest.mark.parametrize("path", ON_THE_SITE, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_lines_of_code_are_short(path: Path) -> None:
    if path.name in WRITTEN_BY_SCRIPTS:
        pytest.skip("a script writes it")
    code = "".join(re.findall(r"(?ms)^```\w*\n(.*?)^```", path.read_text("utf-8")))
    assert [line for line in code.splitlines() if len(line) > MOST_CHARACTERS] == []


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md"])
def test_named_paths_exist(name: str) -> None:
    named = re.findall(
        r"`((?:glm_gguf|convert|tests|scripts|docs|examples|\.ci)/[\w./*-]+)`",
        (REPOSITORY / name).read_text("utf-8"),
    )
    assert [path for path in named if "NAME" not in path and not list(REPOSITORY.glob(path))] == []
    assert len(named) > 20
