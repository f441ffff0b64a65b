"""`glm-gguf research` tells its trail on standard error, and its report on standard output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from glm_gguf.cli.main import cli
from glm_gguf.cli.research_view import show_research, show_update
from glm_gguf.research.corpus import Hit
from glm_gguf.research.folder_index import FolderIndex
from glm_gguf.research.research_events import (
    CallFailed,
    Note,
    Opened,
    Report,
    ReportStarted,
    Searched,
    Source,
    TextDelta,
    TurnStarted,
)

FEW = ["--max-turns", "2", "--max-tokens", "64"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "light.md").write_text("# Harrow light\n\nThe keeper is Ansel Brook.\n")
    (tmp_path / "notes" / "broken.pdf").write_bytes(b"%PDF-1.4 garbage")
    return tmp_path / "notes"


def research(model: Path, *arguments: object, place: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "glm_gguf", "research", str(model), "Who keeps the light?", *map(str, arguments)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(place / "cache"), "PYTHONUTF8": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_model_researches_a_folder(tiny_gguf: Callable[[str], Path], folder: Path, tmp_path: Path) -> None:
    transcript = tmp_path / "t.jsonl"
    model = tiny_gguf("Q8_0")
    given = (*FEW, "--sources", folder, "--seed", 1, "--transcript", transcript)
    done = research(model, *given, place=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 documents (2 new, 0 changed, 0 gone)" in done.stderr
    assert "warning: broken.pdf is not read" in done.stderr
    assert "turn 1" in done.stderr
    assert "report: " in done.stderr
    told = [json.loads(line) for line in transcript.read_text("utf-8").splitlines()]
    again = research(model, *given, "--json", place=tmp_path)
    assert "0 new" in again.stderr
    assert json.loads(again.stdout) == told[-1]["report"]
    assert told[-1]["report"]["text"] in done.stdout


FAULTS = {
    "nothing": {},
    "another kind": {"light.docx": b"The keeper"},
    "a picture named as a text": {"light.md": b"\x89PNG\r\n\x1a\n\0\0"},
}


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_folder_without_anything_to_read_is_named(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    for file, data in FAULTS[name].items():
        (folder / file).write_bytes(data)
    with FolderIndex(folder, tmp_path / "index.sqlite") as index:
        show_update(folder, index.update())
    told = capsys.readouterr().err
    assert f"warning: {folder} holds nothing that can be read: .md, " in told
    assert ("light.md is not read: it is no text" in told) == ("light.md" in FAULTS[name])


ERRORS = {
    "nothing to search": ([], "--sources: there is nothing"),
    "no such folder": (["--sources", "nowhere"], "there is no such folder"),
    "hosts without the web": (["--sources", ".", "--allow", "x"], "--allow: no page"),
    "no turns": (["--sources", ".", "--max-turns", "0"], "--max-turns: 0 makes no sense"),
    "no server": (["--searxng", "file:///x"], "only http and https"),
    "no place for the transcript": (["--sources", ".", "--transcript", "no/t"], "--transcript no/t: there is no dir"),
    "no time": (["--sources", ".", "--total-time", "soon"], "'soon' is no"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_a_mistake_is_told_in_a_line(tiny_gguf: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    arguments, match = ERRORS[name]
    done = research(tiny_gguf("Q8_0"), *arguments, place=tmp_path)
    assert done.returncode != 0
    assert match in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("name", ["research", "write"])
def test_an_empty_question_is_refused_before_anything_is_read(tiny_gguf: Callable[[str], Path], name: str) -> None:
    result = CliRunner().invoke(cli, [name, str(tiny_gguf("Q8_0")), " ", "--sources", "."])
    assert "the question is empty" in str(result.exception)
    assert "documents" not in result.stderr


def test_the_view_tells_every_event(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report("?", "It is Ansel.", (Source(1, "One", "a.md"),), "turns", 3, 40, False)
    events = [
        TurnStarted(1),
        Note("I look."),
        Searched("light", (Hit("One", "a.md", ""),)),
        Opened("One", "a.md", 2, 3),
        CallFailed("x", "no such tool"),
        ReportStarted("turns"),
        TextDelta("It is "),
        TextDelta("Ansel."),
        report,
    ]
    assert show_research(events, quiet=False, thoughts=False) == report
    told = capsys.readouterr()
    assert told.out == "It is Ansel.\n\n## Sources\n\n1. One: a.md\n"
    assert told.err.splitlines() == [
        "turn 1",
        "  I look.",
        "  search: light  (1 hits)",
        "  open: One  (a.md, part 2 of 3)",
        "  failed: no such tool",
        "report: the turns are used up",
        "warning: the report was cut by a limit",
    ]
