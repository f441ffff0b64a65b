"""`serve --mcp --research-mcp-search`: researches of its clients look things up by the tools of a server."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from waiting import until

from glm_gguf.cli.main import cli
from glm_gguf.errors import GlmGgufError

UNIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signals")
TOOLS = ["--research-mcp-search", "wiki__search", "--research-mcp-fetch", "wiki__fetch"]


@pytest.fixture
def wiki(tmp_path: Path) -> Path:
    """A file that names the server; it notes what it was asked in asked.txt beside the file."""
    program = Path(__file__).with_name("wiki_server.py")
    entry = {"command": sys.executable, "args": [str(program), str(tmp_path / "asked.txt")]}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"wiki": entry}}))
    return tmp_path / "mcp.json"


@contextmanager
def served(model: Path, wiki: Path) -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    """Serve a model with the tools; yield the process, its address, and its first lines."""
    options = ["--port", "0", "--threads", "1", "--n-gpu-layers", "0", "--mcp", str(wiki), *TOOLS]
    command = [sys.executable, "-m", "glm_gguf", "serve", str(model), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8") as running:
        assert running.stderr is not None
        lines = [running.stderr.readline()]
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", lines[-1])):
            assert lines[-1], lines
            lines.append(running.stderr.readline())
        url = found[0]
        try:
            until(lambda: httpx.get(f"{url}/health").status_code == 200)
            yield running, url, lines
        finally:
            if running.poll() is None:
                running.kill()


def searching(question: str, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    return {"messages": messages, "web_search_options": {}, "max_tokens": 8, **fields}


def researches(url: str) -> int:
    """How many are under way, as the server tells it."""
    (value,) = re.findall(r"^glm_gguf_researches_running (\S+)", httpx.get(f"{url}/metrics").text, re.MULTILINE)
    return int(float(value))


@contextmanager
def sent(url: str, body: dict[str, Any]) -> Iterator[None]:
    """Send a request, and leave at the end without its answer."""
    address, content = httpx.URL(url), json.dumps(body)
    with socket.create_connection((address.host, address.port or 80), 60) as client:
        host = f"Host: {address.netloc.decode()}\r\nContent-Type: application/json"
        head = f"POST /v1/chat/completions HTTP/1.1\r\n{host}\r\nContent-Length: {len(content)}\r\n\r\n"
        client.sendall((head + content).encode())
        until(lambda: researches(url) == 1)
        yield


@UNIX
def test_a_search_of_a_client_is_made_by_the_tools_of_a_server(tiny_gguf: Callable[[str], Path], wiki: Path) -> None:
    with served(tiny_gguf("Q8_0"), wiki) as (running, url, lines):
        answer = httpx.post(f"{url}/v1/chat/completions", json=searching("Who keeps the light?"), timeout=60)
        assert running.stderr is not None
        running.send_signal(signal.SIGINT)
        running.stderr.read()
        assert running.wait(60) == 0
    assert answer.status_code == 200, answer.text
    assert "questions are researched in wiki__search\n" in lines
    asked = (wiki.parent / "asked.txt").read_text("utf-8").splitlines()
    assert asked == ["search Who keeps the light?", "fetch 1", "fetch 2"]


@UNIX
def test_a_search_that_never_ends_is_bounded_by_the_time_limit_its_client_and_the_second_signal(
    tiny_gguf: Callable[[str], Path], wiki: Path
) -> None:
    with served(tiny_gguf("Q8_0"), wiki) as (running, url, _):
        body = searching("endless", timeout=1)
        late = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30)
        assert (late.status_code, late.json()["error"]["code"]) == (408, "deadline_exceeded")
        with sent(url, searching("endless")):
            pass
        until(lambda: researches(url) == 0, 30)
        with sent(url, searching("endless")):
            assert running.stderr is not None
            running.send_signal(signal.SIGINT)
            while "Ctrl-C again" not in (line := running.stderr.readline()):
                assert line
            running.send_signal(signal.SIGINT)
            rest = running.stderr.read()
            running.wait(30)
    assert "Traceback" not in rest
    assert (wiki.parent / "asked.txt").read_text("utf-8").splitlines() == ["search endless"]


WRONG = {
    "a name that is empty": (["--research-sources", ""], "--research-sources: it is empty; name a folder"),
    "a reader alone": (TOOLS[2:], "--research-mcp-fetch: which tool searches?"),
    "a web server beside them": (
        ["--mcp", "FILE", *TOOLS, "--research-sources", "http://127.0.0.1:1"],
        "--research-mcp-search: a SearXNG server searches the web already",
    ),
    "an unknown reader": (["--mcp", "FILE", *TOOLS[:3], "wiki__read"], "--research-mcp-fetch: there is no tool"),
    "an unknown tool": (["--mcp", "FILE", TOOLS[0], "wiki__find"], "--research-mcp-search: there is no tool"),
    "no server": (TOOLS, "--research-mcp-search: no MCP server is started; name their file by --mcp"),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_tools_that_cannot_search_are_refused_with_the_option(
    tiny_gguf: Callable[[str], Path], wiki: Path, name: str
) -> None:
    words, told = WRONG[name]
    arguments = [str(wiki) if word == "FILE" else word for word in words]
    result = CliRunner().invoke(cli, ["serve", str(tiny_gguf("Q8_0")), "--port", "0", *arguments])
    assert isinstance(result.exception, GlmGgufError)
    assert str(result.exception).startswith(told)
