"""A file is whole or absent after a killed process, and the next writer removes the temporary file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from glm_gguf.errors import OutputError
from glm_gguf.whole_file import UNFINISHED, write_whole

WRITER = """
import sys, time
from pathlib import Path
from glm_gguf.whole_file import write_whole
def blocks():
    yield b"half"
    print("begun", flush=True)
    time.sleep(60)
write_whole(Path(sys.argv[1]), blocks())
"""


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process, in the middle of a file."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "s")], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path, writer: subprocess.Popen[bytes]) -> None:
    (tmp_path / "s").write_bytes(b"before")
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert len(list(tmp_path.iterdir())) == 2
    assert (tmp_path / "s").read_bytes() == b"before"
    write_whole(tmp_path / "s", [b"behind"])
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    assert (tmp_path / "s").read_bytes() == b"behind"


@pytest.mark.skipif(sys.platform == "win32", reason="there, no file is removed that is open")
def test_what_another_writes_now_is_left_alone(tmp_path: Path, writer: subprocess.Popen[bytes]) -> None:
    others = [tmp_path / f".s.mine{UNFINISHED}x", tmp_path / ".s.20240101", tmp_path / f".other.abc{UNFINISHED}"]
    for other in others:
        other.write_bytes(b"mine")
    write_whole(tmp_path / "s", [b"behind"])
    assert len(list(tmp_path.glob(f".s.*{UNFINISHED}"))) == 1
    assert all(other.read_bytes() == b"mine" for other in others)


def test_an_error_on_the_way_leaves_nothing(tmp_path: Path) -> None:
    def blocks() -> Iterator[bytes]:
        yield b"half"
        raise KeyError

    with pytest.raises(KeyError):
        write_whole(tmp_path / "s", blocks())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "none" / "s", tmp_path / "a\0b"):
        with pytest.raises(OutputError):
            write_whole(path, [b"data"])
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
