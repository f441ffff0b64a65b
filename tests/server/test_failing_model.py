"""A model that cannot be loaded ends the command; /health and every request report one that fails later."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from server.questions import ENDLESS, HELLO, SHORT
from server.serving import Served, chat, serving

from glm_gguf import GLM
from glm_gguf.server.settings import ServerSettings

NOT_LOADED: dict[str, tuple[str, tuple[str, ...], str]] = {
    "cut": ("cut", (), "its data ends beyond the file"),
    "a tensor is missing": ("a tensor is missing", (), "tensor 'output_norm.weight' not found"),
    "n_ctx": ("whole", ("--n-ctx", "1000000"), "1000000 tokens are more than the model knows"),
    "adapter": ("whole", ("--lora", "/nowhere.gguf"), "/nowhere.gguf"),
}
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "whole": lambda data: data,
    "cut": lambda data: data[:100_000],
    "a tensor is missing": lambda data: data.replace(b"output_norm.weight", b"output_worm.weight"),
}


@pytest.fixture(scope="module")
def ended(
    tiny_gguf: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, subprocess.CompletedProcess[str]]:
    """Run `glm-gguf serve` in each of these cases, all at once."""

    def serve(damage: str, options: tuple[str, ...], _: str) -> subprocess.CompletedProcess[str]:
        path = tmp_path_factory.mktemp("damaged") / "model.gguf"
        path.write_bytes(DAMAGE[damage](tiny_gguf("Q8_0").read_bytes()))
        command = [sys.executable, "-m", "glm_gguf", "serve", str(path), "--port", "0", *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    tiny_gguf("Q8_0")  # made here, not by four threads
    with ThreadPoolExecutor() as pool:
        return dict(zip(NOT_LOADED, pool.map(lambda case: serve(*case), NOT_LOADED.values()), strict=True))


@pytest.mark.parametrize("case", NOT_LOADED)
def test_serve_ends_where_the_model_cannot_be_loaded(
    ended: dict[str, subprocess.CompletedProcess[str]], case: str
) -> None:
    last = ended[case].stderr.splitlines()[-1]
    assert ended[case].returncode == 1
    assert NOT_LOADED[case][-1] in last
    assert last.startswith("Error: ")
    assert "Traceback" not in ended[case].stderr


def test_whatever_loading_raises_is_told() -> None:
    def fail() -> GLM:
        raise MemoryError

    with serving(ServerSettings("tiny"), fail, wait=False) as running:
        running.wait_until_failed()
        assert httpx.get(f"{running.url}/health").json() == {"status": "failed"}


def test_a_model_whose_file_vanished_is_closed(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    path, opened = tmp_path / "model.gguf", []
    path.write_bytes(tiny_gguf("Q8_0").read_bytes())

    def open_model() -> GLM:
        opened.append(GLM(path, n_ctx=512))
        path.unlink()
        return opened[0]

    with serving(ServerSettings("tiny"), open_model, wait=False) as running:
        running.wait_until_failed()
        assert opened[0]._model._shared._pointer is None


ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("chat/completions", SHORT),
    "completions": ("completions", {"prompt": "abab"}),
    "responses": ("responses", {"input": "Hello"}),
    "messages": ("messages", {"model": "m", "messages": HELLO, "max_tokens": 6}),
    "embeddings": ("embeddings", {"input": "Hello"}),
}


@pytest.fixture(scope="module")
def failed(open_tiny: Callable[[], GLM]) -> Any:
    """A server whose engine fails during a stream."""
    error = ZeroDivisionError("a bug of ours")

    def step() -> None:
        raise error

    with serving(ServerSettings("tiny"), open_tiny) as running:
        body = {**ENDLESS, "stream": True}
        with httpx.stream("POST", f"{running.url}/v1/chat/completions", json=body, timeout=30) as endless:
            lines = endless.iter_lines()
            first = next(lines)
            running.glm._engine.call(lambda scheduler, _: setattr(scheduler, "step", step))
            rest = [first, *lines]
        yield running, rest


def test_a_stream_ends_with_the_error(failed: tuple[Served, list[str]]) -> None:
    told = [line for line in failed[1] if line]
    assert "model_failed" in told[-1]
    assert "a bug of ours" not in told[-1]


def test_health_says_that_the_engine_failed(failed: tuple[Served, list[str]]) -> None:
    health = httpx.get(f"{failed[0].url}/health")
    assert (health.status_code, health.json()) == (503, {"status": "failed"})
    metrics = httpx.get(f"{failed[0].url}/metrics").text
    assert "glm_gguf_failed 1.0" in metrics
    assert "glm_gguf_waiting 0.0" in metrics


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("path", "body"), ASKED.values(), ids=ASKED)
def test_who_asks_later_is_told_at_once(
    failed: tuple[Served, list[str]], path: str, body: dict[str, Any], stream: bool
) -> None:
    given = body if path == "embeddings" else {**body, "stream": stream}
    for _ in range(2):
        answer = httpx.post(f"{failed[0].url}/v1/{path}", json=given, timeout=20)
        assert answer.status_code == 503
        assert "The model failed" in answer.text


def test_the_log_holds_the_cause(open_tiny: Callable[[], GLM], caplog: pytest.LogCaptureFixture) -> None:
    def step() -> None:
        raise ZeroDivisionError("a bug of ours")

    with serving(ServerSettings("tiny"), open_tiny) as running:
        running.glm._engine.call(lambda scheduler, _: setattr(scheduler, "step", step))
        assert chat(running.url).status_code == 503
    told = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert len(told) == 1
    assert "a bug of ours" in str(told[0].exc_info)
