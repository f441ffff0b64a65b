"""ARCHITECTURE names every module of every room, and none that does not exist."""

from __future__ import annotations

import re

import pytest
from documents import REPOSITORY

PAGE = (REPOSITORY / "ARCHITECTURE.md").read_text("utf-8")
ROOMS = re.findall(r"(?m)^((?:convert|glm_gguf)/[\w/]*)  \S.*\n((?:  .*\n)+)", PAGE)


def tree() -> dict[str, set[str]]:
    """Folder → its modules: Python's by their names alone, the page's with .js; others' code is left out."""
    modules = [*REPOSITORY.glob("convert/**/*.py"), *REPOSITORY.glob("glm_gguf/**/*.py")]
    modules += REPOSITORY.glob("glm_gguf/server/page/static/**/*.js")
    found: dict[str, set[str]] = {}
    for path in modules:
        relative = path.relative_to(REPOSITORY)
        if path.name != "__init__.py" and not {"vendor"} & set(relative.parts) and relative.parts[:2] != LINK:
            found.setdefault(f"{relative.parent.as_posix()}/", set()).add(path.name.removesuffix(".py"))
    return found


LINK = ("glm_gguf", "convert")
TREE = tree()


def test_every_room_is_there() -> None:
    assert [room for room, _ in ROOMS] == list(dict.fromkeys(room for room, _ in ROOMS))
    assert {room for room, _ in ROOMS} == set(TREE)


@pytest.mark.parametrize(("room", "lines"), ROOMS, ids=[room for room, _ in ROOMS])
def test_a_room_has_every_file_once_and_no_other(room: str, lines: str) -> None:
    named = [name for line in lines.splitlines() for name in re.split(r"\s{2,}", line.strip())[0].split(", ")]
    assert sorted(named) == sorted(TREE[room])


def test_files_named_in_the_text_exist() -> None:
    named = re.findall(r"`((?:[\w.]+/)+[\w.]*)`", PAGE[: PAGE.index("## Files")])
    roots = (REPOSITORY, REPOSITORY / "glm_gguf")
    assert [path for path in named if not any((root / path).exists() for root in roots)] == []
    assert len(named) > 20
