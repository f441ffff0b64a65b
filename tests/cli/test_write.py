"""`glm-gguf write` prints a text from sources, as Markdown or as a page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

RESULTS = [{"title": "Light", "url": "https://a.test/1", "content": "The keeper is Ansel."}]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "r.json").write_text(json.dumps(RESULTS))
    (tmp_path / "empty.json").write_text("[]")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "light.md").write_text("# Harrow light\n\nThe keeper is Ansel Brook.\n")
    return tmp_path


def write(model: Path, place: Path, *arguments: str, question: str = "Who?") -> subprocess.CompletedProcess[str]:
    given = [str(model), question, "--max-tokens", "24", "--seed", "1", *arguments]
    environment = {**os.environ, "XDG_CACHE_HOME": str(place / "cache"), "PYTHONUTF8": "1"}
    command = [sys.executable, "-m", "glm_gguf", "write", *given]
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)


def test_a_text_is_written_from_a_file_and_from_a_folder(tiny_gguf: Callable[[str], Path], place: Path) -> None:
    done = write(tiny_gguf("Q8_0"), place, "--sources", "r.json")
    assert done.returncode == 0, done.stderr
    assert "1 source: Light" in done.stderr
    assert done.stdout.strip()
    page = write(tiny_gguf("Q8_0"), place, "--sources", "r.json", "--html")
    assert page.stdout.startswith("<!doctype html>")
    assert done.stdout.split()[0].strip("#*.,") in page.stdout
    folder = write(tiny_gguf("Q8_0"), place, "--sources", "notes", "--most-sources", "1", question="the keeper")
    assert "1 source: Harrow light" in folder.stderr
    assert folder.returncode == 0


ERRORS = {
    "no sources": ([], "--sources"),
    "nothing there": (["--sources", "none.json"], "none.json: cannot be read"),
    "no results": (["--sources", "empty.json"], "no list of results"),
    "no such document": (["--sources", "notes"], "no source fits the question"),
    "a number for a file": (["--sources", "r.json", "--most-sources", "3"], "--most-sources: a file's results"),
    "two folders": (["--sources", "notes", "--sources", "r.json"], "--sources: it is given 2 times; give it once"),
    "no document": (["--sources", "notes", "--most-sources", "0"], "--most-sources: 0 sources"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_a_mistake_is_told_in_a_line(tiny_gguf: Callable[[str], Path], place: Path, name: str) -> None:
    arguments, match = ERRORS[name]
    done = write(tiny_gguf("Q8_0"), place, *arguments, question="zebra")
    assert done.returncode != 0
    assert match in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
