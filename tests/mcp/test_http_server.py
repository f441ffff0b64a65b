"""Streamable HTTP: a server of the official package, its token, its restarts, and cancelled calls."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting import until

from glm_gguf.chat.events import ToolCall
from glm_gguf.chat.tools import Toolbox
from glm_gguf.errors import RequestError, ToolServerError
from glm_gguf.mcp.servers import McpServers
from glm_gguf.run_options import RunOptions
from glm_gguf.tool_calls import run_calls

PROGRAM = Path(__file__).with_name("http_server.py")


class Served:
    """A server on a port, which can be started again."""

    def __init__(self, port: int, *options: str) -> None:
        self.url = f"http://127.0.0.1:{port}/mcp"
        self._command = [sys.executable, str(PROGRAM), str(port), *options]
        self._port = port
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command)
        until(self._accepts)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _accepts(self) -> bool:
        assert self._process.poll() is None
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", self._port)) == 0


@contextmanager
def serving(*options: str) -> Iterator[Served]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    made = Served(port, *options)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving() as made:
        yield made


def configured(directory: Path, url: str, token: str = "${env:MCP_TOKEN}") -> Path:
    path = directory / "mcp.json"
    entry = {"type": "http", "url": url, "headers": {"Authorization": f"Bearer {token}"}}
    path.write_text(json.dumps({"mcpServers": {"remote": entry}}))
    return path


@pytest.fixture
def path(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MCP_TOKEN", "secret")
    return configured(tmp_path, served.url)


def ran(servers: McpServers, name: str, seconds: float = 60, **arguments: str) -> str:
    call = ToolCall(f"remote__{name}", json.dumps(arguments))
    return run_calls([call], Toolbox.of([*servers]), RunOptions(timeout=seconds))[0]


def test_calls_of_a_server_with_a_token(path: Path) -> None:
    with McpServers(path) as servers:
        assert ran(servers, "weather", city="北京") == "北京: 21 degrees"
        assert "'Oslo' is not one of" in ran(servers, "weather", city="Oslo")


def test_without_the_token_the_server_is_named(served: Served, tmp_path: Path) -> None:
    with pytest.raises(ToolServerError, match=r"mcpServers\.remote: it cannot be used"):
        McpServers(configured(tmp_path, served.url, "wrong")).start()


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(ToolServerError, match=r"mcpServers\.remote: it cannot be used"):
        McpServers(configured(tmp_path, "http://127.0.0.1:1/mcp", "x")).start()


def test_a_call_at_its_limit_is_cancelled_at_the_server(path: Path) -> None:
    with McpServers(path) as servers:
        before, seconds = ran(servers, "cancelled"), 0.5
        while ran(servers, "cancelled") == before:
            assert "took longer" in ran(servers, "wait", seconds)
            seconds *= 2
            assert seconds < 60


def test_a_flood_is_refused(path: Path) -> None:
    with McpServers(path) as servers:
        assert json.loads(ran(servers, "flood"))["error"]
        assert ran(servers, "weather", city="Paris") == "Paris: 21 degrees"


def test_answers_that_are_no_streams(tmp_path: Path) -> None:
    with serving("json") as made, McpServers(configured(tmp_path, made.url, "secret")) as servers:
        assert ran(servers, "weather", city="北京") == "北京: 21 degrees"
        assert json.loads(ran(servers, "flood"))["error"]


def test_a_server_that_was_started_again_is_connected_to_again(path: Path, served: Served) -> None:
    with McpServers(path) as servers:
        assert ran(servers, "weather", city="Paris") == "Paris: 21 degrees"
        served.stop()
        assert "error" in json.loads(ran(servers, "weather", city="Paris"))
        served.start()
        texts = [ran(servers, "weather", city="Paris") for _ in range(2)]
        assert texts[-1] == "Paris: 21 degrees"


def test_an_environment_without_the_variable_is_refused_by_its_name(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MCP_TOKEN")
    with pytest.raises(RequestError, match=r"mcpServers\.remote\.headers: the variable MCP_TOKEN is not set"):
        McpServers(path)
