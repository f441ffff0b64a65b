"""`serve` says what it does, and what keeps it from it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from click import BadParameter
from click.testing import CliRunner, Result
from waiting import until

from glm_gguf.cli.amounts import TIME
from glm_gguf.cli.main import cli
from glm_gguf.cli.model_options import SharedOptions
from glm_gguf.cli.serve import _settings
from glm_gguf.cli.served_models import store_models
from glm_gguf.cli.server_options import ServerChoice
from glm_gguf.errors import GlmGgufError
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.store.model import Model, StoredFile
from glm_gguf.store.store import Store

TOOL = '''
def get_weather(city: str) -> str:
    """Weather of a city."""
    return "sunny"
'''


@pytest.fixture
def serve(tiny_gguf: Callable[[str], Path]) -> Callable[..., Result]:
    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(cli, ["serve", str(tiny_gguf("Q8_0")), *arguments])

    return invoke


def told(result: Result) -> str:
    assert isinstance(result.exception, GlmGgufError)
    return str(result.exception)


def test_a_port_that_is_taken_is_told_with_the_option(serve: Callable[..., Result]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert told(serve("--port", str(port))) == (
            f"127.0.0.1:{port}: another program listens on this port; choose another by --port; 0 takes a free one"
        )


def test_an_address_that_is_not_ours_is_told_with_the_option(serve: Callable[..., Result]) -> None:
    assert "--host" in told(serve("--host", "192.0.2.1", "--api-key", "k"))


@pytest.mark.parametrize("name", ["fastapi", "uvicorn", "prometheus_client"])
def test_without_its_extra_one_line_says_what_to_install(
    serve: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)  # as Python marks what is not there
    assert "pip install 'glm-gguf[server]'" in told(serve())


def test_a_line_of_a_key_file_is_one_key(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# ours\n\n  correct horse \r\nbattery\n")
    given = ServerChoice(api_keys=("one two",), api_key_file=tmp_path / "keys")
    shared = SharedOptions(EngineOptions(), SamplingParams())
    settings = _settings(["m"], shared, "127.0.0.1", given)
    assert settings.api_keys == ("one two", "correct horse", "battery")


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [("--api-key", "", "is empty"), ("--timeout", "0", "0 seconds")],
    ids=["key", "time"],
)
def test_a_setting_that_cannot_be_is_told_with_its_option(
    serve: Callable[..., Result], option: str, value: str, expected: str
) -> None:
    message = told(serve(option, value))
    assert message.startswith(f"{option}: ")
    assert expected in message


def test_functions_are_not_run_for_a_whole_network_without_a_key(serve: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text(TOOL)
    options = ("--host", "0.0.0.0", "--allow-unauthenticated", "--tools", str(tmp_path / "tools.py"))
    assert told(serve(*options)).startswith("--tools: without a key")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), "model.gguf has the name 'model' too"),
        (("--alias", "glm"), "--alias: there are several models"),
        (("--session", "saved"), "--session: there are several models"),
    ],
    ids=["a name twice", "alias", "session"],
)
def test_what_belongs_to_one_model_is_refused_for_several(
    tmp_path: Path, options: tuple[str, ...], expected: str
) -> None:
    names = ("one", "other") if options else ("model", "model")
    files = [str(tmp_path / folder / f"{name}.gguf") for folder, name in zip("ab", names, strict=True)]
    assert expected in told(CliRunner().invoke(cli, ["serve", *files, *options]))


def test_a_file_that_is_missing_among_several_is_told_at_the_start(
    tiny_gguf: Callable[[str], Path], tmp_path: Path
) -> None:
    files = [str(tiny_gguf("Q8_0")), str(tmp_path / "nowhere.gguf")]
    assert "nowhere.gguf" in told(CliRunner().invoke(cli, ["serve", *files, "--port", "0"]))


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400), ("0", None), ("m", None), ("5d", None)]
)
def test_a_time_is_read_as_people_write_it(text: str, seconds: float | None) -> None:
    if seconds is not None:
        assert TIME.convert(text, None, None) == seconds
    else:
        with pytest.raises(BadParameter, match="write 90s, 10m or 2h"):
            TIME.convert(text, None, None)


def test_several_files_are_served_by_their_names(tiny_gguf: Callable[[str], Path]) -> None:
    files = [str(tiny_gguf(type_)) for type_ in ("Q8_0", "Q4_0")]
    command = [
        sys.executable,
        "-m",
        "glm_gguf",
        "serve",
        *files,
        "--port",
        "0",
        "--threads",
        "1",
        "--n-gpu-layers",
        "0",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8") as running:
        assert running.stderr is not None
        first = running.stderr.readline()
        url = f"http://127.0.0.1:{first.split('127.0.0.1:')[1].split('/')[0]}"
        assert first.startswith("tiny-Q8_0, tiny-Q4_0 at ")
        until(lambda: _answers(url))
        for name in ("tiny-Q4_0", "tiny-Q8_0"):
            body = {"model": name, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
            answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30)
            assert (answer.status_code, answer.json()["model"]) == (200, name)
        assert httpx.get(f"{url}/health").json()["models"] == {"tiny-Q8_0": "ready", "tiny-Q4_0": "ready"}
        running.send_signal(signal.SIGINT)
        rest = running.stderr.read()
        assert running.wait(20) == 0
    assert rest.count("loading ") == 2


def test_without_a_file_the_store_is_served_with_its_short_names(
    tiny_gguf: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLM_GGUF_STORE", str(tmp_path))
    open_to_all = ["serve", "--port", "0", "--host", "0.0.0.0", "--allow-unauthenticated"]
    assert "the store has no model" in told(CliRunner().invoke(cli, open_to_all))
    folder = tmp_path / "THUDM" / "GLM-4-9B-0414"
    folder.mkdir(parents=True)
    store = Store()
    for type_ in ("Q8_0", "Q4_0"):
        path = folder / f"GLM-4-9B-0414-{type_}.gguf"
        path.write_bytes(tiny_gguf(type_).read_bytes())
        files = (StoredFile(path, path.stat().st_size),)
        store.add(Model(path.stem, type_, files, "hf://THUDM/GLM-4-9B-0414"))
    models = store_models(SharedOptions(EngineOptions(n_gpu_layers=0, n_ctx=512), SamplingParams()), fetches=False)
    assert list(models.names()) == ["GLM-4-9B-0414-Q4_0", "GLM-4-9B-0414-Q8_0"]
    assert models.find("glm-4-9b:q8_0") == "GLM-4-9B-0414-Q8_0"
    assert models.find("gpt-5") is None
    with models.open("GLM-4-9B-0414-Q4_0", []) as glm:
        assert glm.n_ctx == 512


def test_without_a_file_the_configured_one_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLM_GGUF_MODEL", "/nowhere/model.gguf")
    assert "/nowhere/model.gguf" in told(CliRunner().invoke(cli, ["serve", "--port", "0"]))


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False


def test_it_says_when_it_loads_and_where_the_model_lies(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text(TOOL)
    options = ["--port", "0", "--n-gpu-layers", "0", "--tools", str(tmp_path / "tools.py")]
    command = [sys.executable, "-m", "glm_gguf", "serve", str(tiny_gguf("Q8_0")), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8") as running:
        assert running.stderr is not None
        lines = []
        for line in running.stderr:
            lines.append(line)
            if "KV cache" in line:
                running.send_signal(signal.SIGINT)
    assert any(line.startswith("loading ") for line in lines)
    assert "the page may run get_weather\n" in lines
    assert any("0 of 5 layers on a GPU; weights 3.1 MB, KV cache 8.4 MB for 4,096 tokens" in line for line in lines)


def test_the_first_ctrl_c_says_how_many_answers_it_waits_for(tiny_gguf: Callable[[str], Path]) -> None:
    command = [sys.executable, "-m", "glm_gguf", "serve", str(tiny_gguf("Q8_0")), "--port", "0", "--threads", "1"]
    body = json.dumps(
        {"messages": [{"role": "user", "content": "Hello"}], "ignore_eos": True, "temperature": 2, "stream": True}
    ).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8") as running:
        assert running.stderr is not None
        lines: list[str] = []
        while not any("KV cache" in line for line in lines):
            lines.append(running.stderr.readline())
        port = int(lines[0].split("127.0.0.1:")[1].split("/")[0])
        until(lambda: httpx.get(f"http://127.0.0.1:{port}/health").json() == {"status": "ready"})
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(head + body)
            assert client.recv(12) == b"HTTP/1.1 200"
            running.send_signal(signal.SIGINT)
            while "Ctrl-C again" not in lines[-1]:
                lines.append(running.stderr.readline())
                assert lines[-1]
            running.send_signal(signal.SIGINT)
            assert running.wait(20) == 0
    assert lines[-1] == "waiting for 1 answer; Ctrl-C again cuts them off\n"
