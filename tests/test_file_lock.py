"""Where a file system has no locks, files are written without them, and nothing of another process is removed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from glm_gguf.appended_lines import AppendedLines
from glm_gguf.convert import ConvertOptions, TypeChoices, convert
from glm_gguf.file_lock import NO_LOCKS, try_lock
from glm_gguf.whole_file import remove_unfinished, write_whole

fcntl = pytest.importorskip("fcntl")
CHECKPOINT = Path(__file__).parents[1] / "glm_gguf" / "demo" / "checkpoint"


@pytest.fixture(params=NO_LOCKS, ids=lambda number: errno.errorcode[number])
def unlocked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that refuses every lock, as Lustre's client does without its option `flock`."""

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("unlocked")
def test_outputs_are_written_without_locks(tmp_path: Path) -> None:
    convert(CHECKPOINT, tmp_path / "tiny.gguf", ConvertOptions(types=TypeChoices(type="Q8_0")))
    write_whole(tmp_path / "whole.json", [b"{}"])
    lines = AppendedLines(tmp_path / "lines.jsonl", 0)
    lines.write({"a": 1})
    lines.close()
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.gguf", "whole.json", "lines.jsonl"}


@pytest.mark.usefixtures("unlocked")
def test_what_may_be_written_at_this_moment_stays(tmp_path: Path) -> None:
    (tmp_path / ".a.json.0123abcd.unfinished").write_bytes(b"{")
    remove_unfinished(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_lock_is_held_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as first, path.open("wb") as second:
        assert try_lock(first.fileno()) is True
        assert try_lock(second.fileno()) is False


def test_any_other_error_is_raised(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        try_lock(-1 & 0xFFFF)
