"""`launch` starts a server where none runs, tells a program of it, and ends with the program."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from damage import command_line
from lending import worker
from server.serving import Served, serving
from waiting import until

from glm_gguf import GLM
from glm_gguf.cli.launched_programs import PROGRAMS, Endpoint, shell_lines
from glm_gguf.cli.launched_server import started_endpoint
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.server.settings import ServerSettings

PROGRAM = """#!{python}
import json, os, sys, time, httpx
base = os.environ["ANTHROPIC_BASE_URL"]
headers = {{"Authorization": "Bearer " + os.environ["ANTHROPIC_AUTH_TOKEN"]}}
messages = [{{"role": "user", "content": "Hello"}}]
asked = {{"model": os.environ["ANTHROPIC_MODEL"], "max_tokens": 5, "messages": messages}}
answer = httpx.post(base + "/v1/messages", json=asked, headers=headers, timeout=60)
told = {{"status": answer.status_code, "model": asked["model"], "words": sys.argv[1:], "url": base}}
if "n_ctx" in sys.argv:
    listed = httpx.get(base + "/v1/models", headers=headers, timeout=60).json()["data"]
    told["n_ctx"] = listed[0]["context_length"]
try:
    print(json.dumps(told), flush=True)
    time.sleep(600 if "wait" in sys.argv else 0)
except KeyboardInterrupt:
    sys.exit(5)
sys.exit(3)
"""
"""Stands where `claude` is installed, and speaks to the server as it does."""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH on which `claude` is such a program."""
    program = tmp_path / "claude"
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return f"{tmp_path}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


def launched(*words: object, path: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return command_line("launch", *words, env={**os.environ, "PATH": path, **variables})


def test_a_server_is_started_and_ends_with_the_program(tiny_gguf: Callable[[str], Path], path: str, port: int) -> None:
    ended = launched("--port", port, "--model", tiny_gguf("Q8_0"), "claude", "-p", "--model", "x", path=path)
    assert ended.returncode == 3, ended.stderr
    told = json.loads(ended.stdout)
    words = ["-p", "--model", "x"]
    assert told == {"status": 200, "model": "tiny-Q8_0", "words": words, "url": f"http://127.0.0.1:{port}"}
    assert not listens(port)


def test_the_key_of_the_environment_is_the_servers_and_the_programs(
    tiny_gguf: Callable[[str], Path], path: str, port: int
) -> None:
    given = {"path": path, "GLM_GGUF_API_KEY": "sesame"}
    ended = launched("--port", port, "--model", tiny_gguf("Q8_0"), "claude", **given)
    assert json.loads(ended.stdout)["status"] == 200


@pytest.fixture(scope="module")
def served(tiny_gguf: Callable[[str], Path]) -> Iterator[Served]:
    options = EngineOptions(threads=1, n_ctx=512)
    with serving(
        ServerSettings("glm-here", api_keys=("k",)), lambda: GLM(tiny_gguf("Q8_0"), options=options)
    ) as running:
        yield running


def test_a_server_that_runs_is_used_and_goes_on(served: Served, path: str) -> None:
    port = served.url.rpartition(":")[2]
    ended = launched("--port", port, "claude", path=path, GLM_GGUF_API_KEY="k")
    assert json.loads(ended.stdout) == {"status": 200, "model": "glm-here", "words": [], "url": served.url}
    assert httpx.get(f"{served.url}/health", timeout=60).status_code == 200


def test_a_server_that_runs_with_the_very_file_is_used(
    served: Served, tiny_gguf: Callable[[str], Path], path: str, tmp_path: Path
) -> None:
    link, port = tmp_path / "link.gguf", served.url.rpartition(":")[2]
    link.symlink_to(tiny_gguf("Q8_0"))
    ended = launched("--port", port, "--model", link, "claude", path=path, GLM_GGUF_API_KEY="k")
    assert json.loads(ended.stdout)["model"] == "glm-here"
    other = launched("--port", port, "--model", tiny_gguf("F32"), "claude", path=path, GLM_GGUF_API_KEY="k")
    assert "F32.gguf'; name one of glm-here, or choose another port by --port" in other.stderr


@pytest.mark.parametrize(
    ("key", "words", "told"),
    [
        pytest.param("wrong", (), "the server wants another key; set GLM_GGUF_API_KEY", id="key"),
        pytest.param("k", ("--model", "other"), "--model {url}: the server has no model 'other'", id="model"),
    ],
)
def test_what_a_running_server_refuses_is_told(key: str, words: Any, told: str, served: Served, path: str) -> None:
    ended = launched("--port", served.url.rpartition(":")[2], *words, "claude", path=path, GLM_GGUF_API_KEY=key)
    assert ended.returncode == (2 if words else 1)
    assert ended.stderr.replace(", ", " ").startswith("Error: ")
    assert told.split("{url}: ")[-1] in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param(("--n-ctx", "512"), "--n-ctx: the server at {url} runs with its own options", id="n_ctx"),
        pytest.param(("--worker", "127.0.0.1:1", "--draft", "off"), "--worker: the server at {url} runs", id="several"),
        pytest.param(("--print", "--lora", "a.gguf"), "--lora: --print starts no server; leave it out", id="print"),
    ],
)
def test_options_of_the_engine_are_refused_where_no_server_is_started(
    words: tuple[str, ...], told: str, served: Served, path: str
) -> None:
    ended = launched("--port", served.url.rpartition(":")[2], *words, "claude", path=path, GLM_GGUF_API_KEY="k")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert told.format(url=served.url) in ended.stderr


def test_a_started_server_has_the_options_of_the_engine(tiny_gguf: Callable[[str], Path], path: str, port: int) -> None:
    engine = ("--n-ctx", 640, "--draft", "off", "--threads", 1)
    with worker() as lender:
        given = ("--model", tiny_gguf("Q8_0"), *engine, "--worker", lender.address)
        ended = launched("--port", port, *given, "claude", "n_ctx", path=path)
        assert any("has come" in line for line in lender.lines), lender.lines
    assert (ended.returncode, json.loads(ended.stdout)["status"]) == (3, 200), ended.stderr
    assert json.loads(ended.stdout)["n_ctx"] == 640


def test_a_worker_that_does_not_answer_is_told(tiny_gguf: Callable[[str], Path], path: str, port: int) -> None:
    given = ("--model", tiny_gguf("Q8_0"), "--worker", "127.0.0.1:1")
    ended = launched("--port", port, *given, "claude", path=path)
    assert ended.returncode == 1
    assert "the server did not start: the model tiny-Q8_0 could not be loaded: 127.0.0.1:1: " in ended.stderr


def test_variables_are_printed_for_a_shell_and_nothing_is_started(port: int, path: str) -> None:
    printed = launched("--print", "--port", port, "--model", "a b.gguf", "claude", path=path).stdout
    values = subprocess.run(
        ["sh", "-c", f'{printed}\nprintf "%s,%s" "$ANTHROPIC_BASE_URL" "$ANTHROPIC_MODEL"'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert values == f"http://127.0.0.1:{port},a b"
    assert not listens(port)


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_is_told_the_address_the_key_and_the_model(name: str) -> None:
    lines = shell_lines(name, Endpoint("http://127.0.0.1:1", "secret", "my-model", 4096))
    words = " ".join(word for line in lines for word in shlex.split(line, comments=False))
    assert "http://127.0.0.1:1" in words
    assert "secret" in words
    assert "my-model" in words


def test_a_program_that_is_missing_is_told_with_how_to_get_it(tmp_path: Path) -> None:
    ended = launched("codex", path=str(tmp_path))
    told = "Error: there is no codex on the PATH; install it: npm install -g @openai/codex\n"
    assert (ended.returncode, ended.stderr) == (1, told)
    behind = launched("codex", "--print", path=str(tmp_path)).stderr
    assert behind.endswith("only to show the variables: glm-gguf launch --print codex\n")
    listed = launched("--list", path=str(tmp_path)).stdout
    assert [line.split()[0] for line in listed.splitlines()] == list(PROGRAMS)


@pytest.mark.parametrize(("words", "told"), [((), "no program is named"), (("emacs",), "'emacs' is not known here")])
def test_a_program_that_is_not_known_is_refused(words: tuple[str, ...], told: str, path: str) -> None:
    assert f"Error: PROGRAM: {told}; name one of claude, codex" in launched(*words, path=path).stderr


def test_a_server_that_does_not_start_is_told_in_its_words(tmp_path: Path, path: str, port: int) -> None:
    ended = launched("--port", port, "--model", tmp_path / "none.gguf", "claude", path=path)
    assert ended.returncode == 1
    assert "Error: the server did not start: " in ended.stderr
    assert "none.gguf" in ended.stderr


def test_a_server_that_listens_before_it_answers_is_awaited(
    tiny_gguf: Callable[[str], Path], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glm_gguf.cli.launched_server.ASK_SECONDS", 0.05)
    with started_endpoint(f"http://127.0.0.1:{port}", [str(tiny_gguf("Q8_0")), "--port", str(port)], None) as found:
        assert found.model == "tiny-Q8_0"


class Other(BaseHTTPRequestHandler):
    """A program that is no server of ours."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"data": [{"id": "x", "owned_by": "somebody"}]}')

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_another_program_on_the_port_is_told(path: str) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as other:
        Thread(target=other.serve_forever, daemon=True).start()
        ended = launched("--port", other.server_port, "claude", path=path)
        other.shutdown()
    assert "another program answers here; choose another port by --port" in ended.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 5), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_ctrl_c_is_the_programs_and_sigterm_ends_all(
    number: signal.Signals, code: int, tiny_gguf: Callable[[str], Path], path: str, port: int
) -> None:
    words = ["launch", "--port", str(port), "--model", str(tiny_gguf("Q8_0")), "claude", "wait"]
    command = [sys.executable, "-m", "glm_gguf", *words]
    environment = {**os.environ, "PATH": path}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, start_new_session=True) as running:
        assert running.stdout is not None
        assert b"200" in running.stdout.readline()
        os.killpg(running.pid, number) if number == signal.SIGINT else running.send_signal(number)
        assert running.wait(60) == code
    until(lambda: not listens(port))
