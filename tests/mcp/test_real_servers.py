"""Servers of others, from PyPI and npm: a clock, git, SQLite and files; through a model, in both kinds of `run`."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glm_gguf.chat.events import ToolCall
from glm_gguf.chat.tools import Toolbox
from glm_gguf.errors import RequestError, ToolServerError
from glm_gguf.mcp.servers import McpServers
from glm_gguf.model import GLM

BIN = Path(sys.executable).parent
NODE_MODULES = Path(__file__).resolve().parents[2] / "scripts" / "javascript" / "node_modules"


def configured(directory: Path, **servers: dict[str, Any]) -> Path:
    path = directory / "mcp.json"
    path.write_text(json.dumps({"mcpServers": servers}))
    return path


def program(name: str, *arguments: str, **fields: Any) -> dict[str, Any]:
    return {"command": str(BIN / name), "args": [*arguments], **fields}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("repository")
    git = ["git", "-C", str(directory), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    (directory / "a.txt").write_text("one\n")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "First words"], check=True)
    return directory


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("database") / "a.db"
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("CREATE TABLE planets (name TEXT, moons INTEGER)")
        connection.execute("INSERT INTO planets VALUES ('Mars', 2), ('Jupiter', 97)")
    connection.close()
    return path


@pytest.fixture(scope="module")
def servers(repository: Path, database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[McpServers]:
    """Three servers from PyPI side by side."""
    path = configured(
        tmp_path_factory.mktemp("configuration"),
        time=program("mcp-server-time", "--local-timezone=UTC"),
        git=program("mcp-server-git", "--repository", str(repository)),
        sqlite=program("mcp-alchemy", env={"DB_URL": f"sqlite:///{database}"}),
    )
    with McpServers(path) as running:
        yield running


def answer(servers: McpServers, name: str, **arguments: Any) -> str:
    return Toolbox.of([*servers]).answer(ToolCall(name, json.dumps(arguments)))


def test_every_tool_of_three_servers_can_be_called_under_a_joined_name(servers: McpServers) -> None:
    assert servers.left_out == ()
    names = [tool.declared_name for tool in servers]
    assert {"time__convert_time", "git__git_log", "sqlite__execute_query"} <= set(names)
    assert len({name.partition("__")[0] for name in names}) == 3


def test_a_clock_converts_a_time(servers: McpServers) -> None:
    given = {"source_timezone": "Asia/Shanghai", "time": "08:30", "target_timezone": "Asia/Tokyo"}
    assert json.loads(answer(servers, "time__convert_time", **given))["time_difference"] == "+1.0h"


def test_git_tells_its_log(servers: McpServers, repository: Path) -> None:
    assert "First words" in answer(servers, "git__git_log", repo_path=str(repository))


def test_a_database_answers_a_query(servers: McpServers) -> None:
    told = answer(servers, "sqlite__execute_query", query="SELECT moons FROM planets WHERE name = 'Jupiter'", params={})
    assert "97" in told


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        pytest.param("git__git_log", {"repo_path": "/nowhere"}, "error", id="an error of the server"),
        pytest.param("git__git_log", {}, "'repo_path' is a required property", id="a missing argument"),
        pytest.param("git_log", {"repo_path": "."}, "there is no function 'git_log'", id="a name without its server"),
    ],
)
def test_the_model_is_told_what_was_wrong(name: str, arguments: Any, told: str, servers: McpServers) -> None:
    assert told in json.loads(answer(servers, name, **arguments))["error"] or told == "error"


def test_files_of_a_server_from_npm(tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    script = NODE_MODULES / "@modelcontextprotocol" / "server-filesystem" / "dist" / "index.js"
    if not script.exists():
        pytest.skip("scripts/check_javascript has not fetched the server")
    (tmp_path / "a.txt").write_text("Grüße, 世界 <|user|>", "utf-8")
    path = configured(tmp_path, files={"command": "node", "args": [str(script), str(tmp_path)]})
    with McpServers(path) as running:
        assert running.left_out == ()
        assert answer(running, "files__read_text_file", path=str(tmp_path / "a.txt")) == "Grüße, 世界 <|user|>"
        assert "error" in json.loads(answer(running, "files__read_text_file", path="/etc/passwd"))
        assert "Successfully wrote" in answer(running, "files__write_file", path=str(tmp_path / "b"), content="two")
    assert (tmp_path / "b").read_text() == "two"


def double(n: int) -> int:
    """Double a number.

    Args:
        n: the number
    """
    return 2 * n


def test_a_run_calls_functions_and_servers(glm: GLM, servers: McpServers) -> None:
    choice = {"function": {"name": "sqlite__all_table_names"}}
    tools = [double, *(tool for tool in servers if tool.server.entry.name == "sqlite")]
    messages = glm.run("Which tables?", tools, max_turns=2, temperature=0, tool_choice=choice).messages
    assert [message["content"] for message in messages if message["role"] == "tool"] == ["planets"]


def test_a_run_in_an_event_loop(glm: GLM, database: Path, tmp_path: Path) -> None:
    async def both() -> Any:
        path = configured(tmp_path, db=program("mcp-alchemy", env={"DB_URL": f"sqlite:///{database}"}))
        async with McpServers(path) as running:
            choice = {"function": {"name": "db__all_table_names"}}
            return await glm.arun("Which tables?", [double, *running], max_turns=2, temperature=0, tool_choice=choice)

    messages = asyncio.run(both()).messages
    assert [message["content"] for message in messages if message["role"] == "tool"] == ["planets"]


def test_a_program_that_is_missing_is_named_and_how_to_get_it(tmp_path: Path) -> None:
    path = configured(tmp_path, a={"command": "no-such-program"})
    with pytest.raises(ToolServerError) as refused:
        McpServers(path).start()
    told = f"{path}, mcpServers.a.command: there is no program 'no-such-program' on the PATH; install it, or give the"
    assert str(refused.value).startswith(told)


def test_one_server_that_fails_ends_the_others_and_is_named(tmp_path: Path) -> None:
    path = configured(tmp_path, time=program("mcp-server-time"), bad=program("mcp-server-time", "--no-such-option"))
    with pytest.raises(ToolServerError, match=r"mcpServers\.bad: .*no-such-option"):
        McpServers(path).start()


def test_servers_that_do_not_run_have_no_tools(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="the servers do not run"):
        list(McpServers(configured(tmp_path, time=program("mcp-server-time"))))


def test_without_the_package_the_extra_is_named(tmp_path: Path) -> None:
    path = configured(tmp_path, time=program("mcp-server-time"))
    program_text = f"""
import sys
sys.modules["mcp"] = None
from glm_gguf import McpServers, RequestError
try:
    McpServers({str(path)!r}).start()
except RequestError as error:
    print(error)
"""
    ended = subprocess.run([sys.executable, "-c", program_text], capture_output=True, text=True, check=True)
    assert ended.stdout.endswith("install it: pip install 'glm-gguf[mcp]'\n")
    assert ended.stderr == ""
