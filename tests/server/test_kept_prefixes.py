"""`--session-dir`: a conversation goes on where it was after sleep, after a restart, and after kill -9."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from server.conftest import OPTIONS
from server.serving import Served, serving
from waiting import until

from glm_gguf import GLM
from glm_gguf.engine.session_directory import SessionDirectory
from glm_gguf.server.pool import kept_prefixes
from glm_gguf.server.pool.catalogue import ModelFiles
from glm_gguf.server.settings import ServerSettings

LONG = {"messages": [{"role": "user", "content": "Tell me of the weather in Paris. " * 8}], "temperature": 0}


def cached(url: str, model: str = "any") -> int:
    """Ask, and return how many tokens of the prompt were in the cache."""
    body = {**LONG, "max_tokens": 4, "model": model}
    usage = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30).json()["usage"]
    tokens: int = usage["prompt_tokens_details"]["cached_tokens"]
    return tokens


def kept(directory: Path) -> list[Path]:
    return list(directory.glob("*.prefix"))


@contextmanager
def of_directory(model: Path, directory: Path, sleep_after: float | None = None) -> Iterator[Served]:
    settings = ServerSettings("tiny", sleep_after=sleep_after, sessions=SessionDirectory(directory, 10**9))
    with serving(settings, lambda: GLM(model, options=OPTIONS), wait=False) as running:
        until(lambda: httpx.get(f"{running.url}/health").json()["status"] in ("ready", "asleep"))
        yield running


def test_a_prefix_outlives_sleep_and_a_restart(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    with of_directory(tiny_gguf("F32"), tmp_path, 0.05) as running:
        assert cached(running.url) == 0
        until(lambda: httpx.get(f"{running.url}/health").json() == {"status": "asleep"})
        assert cached(running.url) > 40
    with of_directory(tiny_gguf("F32"), tmp_path) as running:
        assert cached(running.url) > 40


def test_each_model_of_several_has_its_own(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    paths = {type_: tiny_gguf(type_) for type_ in ("F32", "Q8_0")}
    files = ModelFiles(lambda: paths, lambda path, _: GLM(path, options=OPTIONS), lambda path, beside: False)
    settings = ServerSettings("several", sessions=SessionDirectory(tmp_path, 10**9))
    with serving(settings, files, wait=False) as running:
        assert [cached(running.url, model) for model in ("F32", "Q8_0")] == [0, 0]
        assert all(cached(running.url, model) > 40 for model in ("F32", "Q8_0"))
    assert len(kept(tmp_path)) == 2


def test_it_is_saved_soon_after_an_answer(
    tiny_gguf: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_prefixes, "IDLE_SECONDS", 0.05)
    with of_directory(tiny_gguf("F32"), tmp_path) as running:
        cached(running.url)
        until(lambda: len(kept(tmp_path)) == 1)


def test_a_disk_that_takes_nothing_stops_no_answer(
    tiny_gguf: Callable[[str], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with of_directory(tiny_gguf("F32"), tmp_path / "kept", 0.05) as running:
        (tmp_path / "kept").rmdir()
        assert cached(running.url) == 0
        until(lambda: "prefixes were not saved" in caplog.text)
        assert cached(running.url) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_prefix_outlives_a_killed_server(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    counts = []
    for _ in range(2):
        command = [sys.executable, "-m", "glm_gguf", "serve", str(tiny_gguf("Q8_0")), "--port", "0"]
        options = ["--session-dir", str(tmp_path), "--session-limit", "50M", "--n-gpu-layers", "0", "--n-ctx", "1024"]
        with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True, encoding="utf-8") as running:
            assert running.stderr is not None
            url = f"http://127.0.0.1:{running.stderr.readline().split('127.0.0.1:')[1].split('/')[0]}"
            while "KV cache" not in running.stderr.readline():
                pass
            until(lambda url=url: httpx.get(f"{url}/health").json() == {"status": "ready"})  # type: ignore[misc]
            counts.append(cached(url))
            until(lambda: len(kept(tmp_path)) == 1)
            running.send_signal(signal.SIGKILL)
    assert counts[0] == 0
    assert counts[1] > 40
