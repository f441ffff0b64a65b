"""Prefixes in a directory come back after a restart, within their bytes, whatever a killed process left there."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from glm_gguf import GLM, EngineOptions, SamplingParams
from glm_gguf.chat.events import ChatResult
from glm_gguf.engine.session_directory import SessionDirectory
from glm_gguf.errors import EngineError, OutputError, RequestError

OPTIONS = EngineOptions(threads=1, n_ctx=1024)
SHORT = SamplingParams(temperature=0, max_tokens=8)
MUCH = 10**9


def asked(glm: GLM, text: str) -> ChatResult:
    return glm.chat([{"role": "user", "content": f"{text} " * 20}], sampling=SHORT)


def files(directory: Path) -> list[Path]:
    """The kept files, the least recently used first."""
    return sorted(directory.glob("*.prefix"), key=lambda path: path.stat().st_mtime_ns)


@pytest.fixture
def kept(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> Path:
    """A directory with three conversations."""
    with GLM(tiny_gguf("Q8_0"), options=OPTIONS) as glm:
        for text in ("one", "two", "three"):
            asked(glm, text)
        SessionDirectory(tmp_path, MUCH).save(glm.sessions())
    return tmp_path


def cached(model: Path, directory: Path, text: str) -> int:
    """Restore a directory, and return how many tokens of a prompt it spares, which are all but one or none."""
    with GLM(model, options=OPTIONS) as glm:
        SessionDirectory(directory, MUCH).restore(glm.sessions())
        usage = asked(glm, text).usage
        return usage.cached_tokens if usage.cached_tokens == usage.prompt_tokens - 1 else 0


def test_a_restart_computes_nothing_of_what_was_said(tiny_gguf: Callable[[str], Path], kept: Path) -> None:
    with GLM(tiny_gguf("Q8_0"), options=OPTIONS) as glm:
        fresh = {text: asked(glm, text).content for text in ("one", "two", "three")}
    with GLM(tiny_gguf("Q8_0"), options=OPTIONS) as glm:
        assert SessionDirectory(kept, MUCH).restore(glm.sessions()) > 60
        for text, expected in fresh.items():
            again = asked(glm, text)
            assert again.content == expected
            assert again.usage.cached_tokens == again.usage.prompt_tokens - 1


def test_a_directory_of_its_own_is_for_its_owner_alone(tmp_path: Path) -> None:
    SessionDirectory(tmp_path / "new" / "kept", MUCH)
    if os.name == "posix":
        assert (tmp_path / "new" / "kept").stat().st_mode & 0o777 == 0o700


def test_what_is_kept_already_is_not_written_again(tiny_gguf: Callable[[str], Path], kept: Path) -> None:
    before = {path.name: path.stat().st_ino for path in files(kept)}
    with GLM(tiny_gguf("Q8_0"), options=OPTIONS) as glm:
        directory = SessionDirectory(kept, MUCH)
        directory.restore(glm.sessions())
        directory.save(glm.sessions())
    assert {path.name: path.stat().st_ino for path in files(kept)} == before


def test_a_conversation_that_goes_on_is_one_file(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    with GLM(tiny_gguf("Q8_0"), options=OPTIONS) as glm:
        directory = SessionDirectory(tmp_path, MUCH)
        text = "Once upon a time there was a model that had much to say about everything"
        sizes = []
        for _ in range(3):
            text += glm.complete(text, sampling=SHORT)
            directory.save(glm.sessions())
            sizes.append([path.stat().st_size for path in files(tmp_path)])
    assert [len(each) for each in sizes] == [1, 1, 1]
    assert sizes[0] < sizes[1] < sizes[2]


def test_the_least_recently_used_are_removed_first(tiny_gguf: Callable[[str], Path], kept: Path) -> None:
    first, second, third = files(kept)
    room = sum(path.stat().st_size for path in (first, second, third)) + 1000
    with GLM(tiny_gguf("Q8_0"), options=OPTIONS) as glm:
        directory = SessionDirectory(kept, room)
        directory.restore(glm.sessions())
        asked(glm, "one")
        asked(glm, "four")
        directory.save(glm.sessions())
    left = files(kept)
    assert first in left  # it was used again
    assert second not in left
    assert sum(path.stat().st_size for path in left) <= room


def test_a_prefix_larger_than_the_directory_is_not_kept(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    with GLM(tiny_gguf("Q8_0"), options=OPTIONS) as glm:
        asked(glm, "one")
        SessionDirectory(tmp_path, 1000).save(glm.sessions())
    assert files(tmp_path) == []


def test_models_and_settings_do_not_mix(tiny_gguf: Callable[[str], Path], kept: Path) -> None:
    assert cached(tiny_gguf("Q4_0"), kept, "one") == 0
    assert cached(tiny_gguf("Q8_0"), kept, "one") > 0
    assert len(files(kept)) == 3


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_file_is_removed_and_the_others_serve(
    tiny_gguf: Callable[[str], Path], kept: Path, seed: int
) -> None:
    chosen, damaged = random.Random(seed), files(kept)[0]
    data = bytearray(damaged.read_bytes())
    if seed % 2:
        del data[chosen.randrange(len(data)) :]
    else:
        data[chosen.randrange(len(data))] ^= 1 << chosen.randrange(8)
    damaged.write_bytes(data)
    assert cached(tiny_gguf("Q8_0"), kept, "one") == 0
    assert not damaged.exists()
    assert cached(tiny_gguf("Q8_0"), kept, "two") > 0


class Closing(logging.Handler):
    """Closes a model when the first file is told to be damaged."""

    def __init__(self, glm: GLM) -> None:
        super().__init__()
        self._glm = glm

    def emit(self, record: logging.LogRecord) -> None:
        self._glm.close()


def test_a_model_that_is_closed_meanwhile_costs_no_file(
    tiny_gguf: Callable[[str], Path], kept: Path, request: pytest.FixtureRequest
) -> None:
    damaged, *sound = files(kept)
    damaged.write_bytes(b"")
    os.utime(damaged, (0, 0))  # it stays the first that is read
    with GLM(tiny_gguf("Q8_0"), options=OPTIONS) as glm:
        log, handler = logging.getLogger("glm_gguf.engine.session_directory"), Closing(glm)
        log.addHandler(handler)
        request.addfinalizer(lambda: log.removeHandler(handler))
        with pytest.raises(EngineError, match="closed"):
            SessionDirectory(kept, MUCH).restore(glm.sessions())
    assert files(kept) == sound


def test_a_file_under_another_name_is_removed(tiny_gguf: Callable[[str], Path], kept: Path) -> None:
    first = files(kept)[0]
    wrong = first.with_name("0" * 32 + first.name[32:])
    first.rename(wrong)
    (kept / "notes.txt").write_text("mine")
    assert cached(tiny_gguf("Q8_0"), kept, "one") == 0
    assert wrong.exists()  # of another model, as far as its name tells
    assert (kept / "notes.txt").read_text() == "mine"


def test_prefixes_are_saved_while_all_answers_run(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    with GLM(tiny_gguf("Q8_0"), options=EngineOptions(threads=1, n_ctx=4096, n_parallel=1, draft=0)) as glm:
        asked(glm, "one")
        with glm.stream_completion("two", {"max_tokens": 4000, "ignore_eos": True}) as running:
            next(running)
            SessionDirectory(tmp_path, MUCH).save(glm.sessions())
            assert glm.status.running == 1
    assert len(files(tmp_path)) == 1


WRITER = """
import sys
from pathlib import Path
from glm_gguf import GLM, EngineOptions, SamplingParams
from glm_gguf.engine.session_directory import SessionDirectory
with GLM(sys.argv[1], options=EngineOptions(threads=1, n_ctx=1024)) as glm:
    directory = SessionDirectory(Path(sys.argv[2]), 10**9)
    for number in range(1000):
        glm.complete(f"{number} " * 150, SamplingParams(temperature=0, max_tokens=1))
        directory.save(glm.sessions())
        print(number, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_process_leaves_only_whole_files(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    for moment in range(3):
        command = [sys.executable, "-c", WRITER, str(tiny_gguf("Q8_0")), str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            for _ in range(moment + 1):
                running.stdout.readline()
            running.send_signal(signal.SIGKILL)
        whole = files(tmp_path)
        with GLM(tiny_gguf("Q8_0"), options=OPTIONS) as glm:
            assert SessionDirectory(tmp_path, MUCH).restore(glm.sessions()) > 0
        assert files(tmp_path) == whole
        assert not [path for path in tmp_path.iterdir() if path not in whole]


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="no directory"):
        SessionDirectory(tmp_path / "file", MUCH)
    with pytest.raises(RequestError, match="session-limit"):
        SessionDirectory(tmp_path, 0)


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="this system has no directory that root cannot write to")
def test_a_directory_that_cannot_be_written_is_refused_when_it_is_named() -> None:
    with pytest.raises(OutputError, match="is no directory to write to"):
        SessionDirectory(Path("/sys/kernel"), MUCH)
