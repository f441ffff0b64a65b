"""The configuration file: what editors write into it, and what is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from glm_gguf.errors import RequestError
from glm_gguf.mcp.server_entry import HttpServer, ServerEntry, StdioServer
from glm_gguf.mcp.servers_file import read_servers


def written(directory: Path, servers: Any) -> Path:
    path = directory / "mcp.json"
    path.write_text(json.dumps({"mcpServers": servers}), "utf-8")
    return path


def test_the_forms_of_editors_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "t0ken")
    monkeypatch.delenv("PLACE", raising=False)
    servers = {
        "files": {
            "command": "npx",
            "args": ["-y", "server", "${PLACE:-/srv}"],
            "env": {"KEY": "${TOKEN}", "EMPTY": ""},
            "cwd": "/tmp",
            "type": "stdio",
            "autoApprove": ["read"],
            "alwaysAllow": ["list"],
            "disabledTools": ["write"],
            "excludeTools": ["move"],
        },
        "remote": {"url": "https://example.com/mcp", "headers": {"Authorization": "Bearer ${env:TOKEN}"}},
        "off": {"command": "rm", "disabled": True},
        "out": {"command": "rm", "enabled": False},
        "some": {"type": "streamable-http", "url": "http://localhost:1/", "includeTools": ["a"]},
    }
    files, remote, some = read_servers(written(tmp_path, servers))
    access = StdioServer("npx", ("-y", "server", "/srv"), {"KEY": "t0ken", "EMPTY": ""}, "/tmp")
    chosen = {"excluded": frozenset({"write", "move"}), "approved": frozenset({"read", "list"})}
    assert files == ServerEntry("files", access, **chosen)
    assert remote.access == HttpServer("https://example.com/mcp", {"Authorization": "Bearer t0ken"})
    assert [some.uses("a"), some.uses("b"), files.uses("write"), files.uses("b")] == [True, False, False, True]


REFUSED = {
    "no object": ([], "mcp.json: it has no object mcpServers"),
    "no server": ({}, "it names no server that is enabled"),
    "only disabled": ({"a": {"command": "x", "disabled": True}}, "it names no server that is enabled"),
    "a text": ({"a": "x"}, "mcpServers.a: a server is an object"),
    "neither": ({"a": {}}, "mcpServers.a: a server has either a command or a url"),
    "both": ({"a": {"command": "x", "url": "http://a"}}, "a server has either a command or a url"),
    "foreign": ({"a": {"command": "x", "colour": 1}}, "mcpServers.a.colour: this is not known here; leave it out"),
    "timeout": (
        {"a": {"command": "x", "timeout": 1}},
        "mcpServers.a.timeout: this is not known here; leave it out: some",
    ),
    "sse": ({"a": {"url": "http://a", "type": "sse"}}, "mcpServers.a.type: the older transport SSE is not spoken"),
    "wrong type": ({"a": {"command": "x", "type": "http"}}, "mcpServers.a.type: 'http' does not fit"),
    "headers of a program": ({"a": {"command": "x", "headers": {}}}, "a server with a command has none"),
    "args of an address": ({"a": {"url": "http://a", "args": []}}, "a server with a url has none"),
    "no address": ({"a": {"url": "ftp://a"}}, "mcpServers.a.url: this is no address"),
    "empty command": ({"a": {"command": ""}}, "mcpServers.a.command: this is no text"),
    "numbers": ({"a": {"command": "x", "args": [1]}}, "mcpServers.a.args: this is no list of texts"),
    "a NUL": ({"a": {"command": "x", "args": ["\0"]}}, "mcpServers.a.args: this is no list of texts"),
    "environment": ({"a": {"command": "x", "env": {"A": 1}}}, "mcpServers.a.env: this is no object of texts"),
    "word": ({"a": {"command": "x", "disabled": "no"}}, "mcpServers.a.disabled: this is neither true nor false"),
    "input": ({"a": {"command": "x", "args": ["${input:key}"]}}, "${input:key} is no variable of the environment"),
    "unset": ({"a": {"command": "${NOT_SET_AT_ALL}"}}, "the variable NOT_SET_AT_ALL is not set"),
    "name": ({"a\n": {"command": "x"}}, "a server's name is a line of text"),
}


@pytest.mark.parametrize(("servers", "told"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_understood_is_refused_by_name(servers: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError) as refused:
        read_servers(written(tmp_path, servers))
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("{", "this is no JSON", id="half"),
        pytest.param("[" * 100_000, "this is no JSON", id="deep"),
        pytest.param('{"mcpServers": {"a": {}, "a": {}}}', "the key 'a' occurs twice", id="doubled"),
        pytest.param('{"servers": {}}', "it has no object mcpServers", id="another form"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    path.write_text(text)
    with pytest.raises(RequestError) as refused:
        read_servers(path)
    assert told in str(refused.value)
    assert refused.value.path == str(path)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="it is a directory, not a file"):
        read_servers(tmp_path)
