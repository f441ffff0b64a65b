"""The words of the field are used, and the private ones that they replaced do not come back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCES = [
    *(
        path
        for path in sorted((REPOSITORY / "glm_gguf").rglob("*.py"))
        if path.relative_to(REPOSITORY).parts[1] != "convert"
    ),
    *sorted((REPOSITORY / "convert").rglob("*.py")),
]

REPLACED = {
    "patience": "a timeout, a retry policy or seconds to linger",
    "patient": "a timeout",
    "patiently": "with retries",
    "lone": "exclusive",
    "keeper": "the journal's writer",
    "crumbs": "two-bit levels",
    "seal": "an expected digest",
    "seals": "expected digests",
    "door": "access",
    "sweep": "drop what was cancelled",
    "make_way": "preempt",
    "put_back": "preempt",
    "gives_way": "preemptible",
    "give_way": "preempt",
    "lay_off": "evict",
    "bring_back": "restore",
    "take_up": "sample",
    "unwritten": "an empty answer",
    "readings": "prompt jobs",
    "stop_ids": "EOG ids",
}
"""Word in names → what to say instead."""

WANTED = {
    "glm_gguf/engine": ("prefill", "preempt", "evict", "admit", "KV cache", "batch", "logits", "decode", "sequence"),
    "glm_gguf/llama": ("KV cache", "batch", "logits", "n_ctx", "EOG", "sampl", "layer"),
    "glm_gguf/answers": ("prompt", "sampl", "token", "grammar"),
    "convert": ("quantis", "tensor", "block", "super-block", "importance matrix", "bits per weight"),
    "docs": ("prefill", "evict", "preempt", "KV cache", "batch", "bits per weight", "context"),
}
"""Room → terms that whoever knows the field looks for."""


@pytest.fixture(scope="module")
def names() -> dict[str, str]:
    """Each name in the package, in snake case, and a file that has it."""
    return {name: str(path.relative_to(REPOSITORY)) for path in SOURCES for name in names_in(path)}


def names_in(path: Path) -> Iterator[str]:
    """Names that a module gives or uses, its own among them."""
    yield path.stem
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield snake_case(name)
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield snake_case(name)


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


@pytest.mark.parametrize("word", REPLACED)
def test_a_private_word_that_was_replaced_does_not_come_back(word: str, names: dict[str, str]) -> None:
    pattern = re.compile(rf"(?:^|_){word}(?:$|_)")
    found = {name: path for name, path in names.items() if pattern.search(name)}
    assert not found, f"say: {REPLACED[word]}"


@pytest.mark.parametrize(("room", "term"), [(room, term) for room, terms in WANTED.items() for term in terms])
def test_a_room_speaks_of_its_subject_in_the_terms_of_the_field(room: str, term: str) -> None:
    texts = [path.read_text("utf-8") for kind in ("*.py", "*.md") for path in (REPOSITORY / room).rglob(kind)]
    assert any(term.lower() in text.lower() for text in texts)
