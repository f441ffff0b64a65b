"""The options that only `glm-gguf serve` has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from glm_gguf.cli.amounts import SIZE, TIME

SERVER_OPTIONS = (
    click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Address to listen on."),
    click.option(
        "--port",
        type=click.IntRange(0, 65535),
        metavar="PORT",
        default=8080,
        show_default=True,
        help="Port to listen on; 0 takes a free one.",
    ),
    click.option("--alias", metavar="NAME", help="Name of the model in /v1/models. Default: the file's."),
    click.option(
        "--api-key",
        "api_keys",
        metavar="KEY",
        multiple=True,
        help="API key that requests must carry; other users of this machine can see it in the list of processes.",
    ),
    click.option(
        "--api-key-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="File with one API key per line; # begins a comment.",
    ),
    click.option(
        "--allow-unauthenticated",
        is_flag=True,
        help="Accept requests without a key from everyone who reaches the address.",
    ),
    click.option(
        "--cors-origin",
        "origins",
        metavar="ORIGIN",
        multiple=True,
        help="Origin of web pages that may send requests; * for all. May be repeated.",
    ),
    click.option(
        "--allowed-host",
        "hosts",
        metavar="NAME",
        multiple=True,
        help="Another host name of this server; may be repeated.",
    ),
    click.option(
        "--tools",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Python file whose functions run here when the model calls them on the page. API clients run their own.",
    ),
    click.option(
        "--mcp",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="JSON file of MCP servers, as editors have it: the page may switch them on. API clients run their own.",
    ),
    click.option(
        "--research-sources",
        multiple=True,
        metavar="DIR|URL",
        help="Folder of documents, or SearXNG server, in which clients and the page may have questions researched."
        " May be given for both.",
    ),
    click.option(
        "--research-allow",
        multiple=True,
        metavar="HOST",
        help="Let a research open pages of this host only; may be repeated.",
    ),
    click.option(
        "--research-allow-private",
        multiple=True,
        metavar="HOST",
        help="Host that may lie in a private network; may be repeated.",
    ),
    click.option(
        "--research-mcp-search",
        metavar="NAME",
        help="Tool of a server in --mcp that a research searches with, such as wiki__search.",
    ),
    click.option(
        "--research-mcp-fetch",
        metavar="NAME",
        help="Tool of a server in --mcp by which it reads a page, such as wiki__fetch.",
    ),
    click.option(
        "--models-max",
        type=click.IntRange(min=1),
        metavar="N",
        help="Models loaded at once, at most. Default: as many as fit into memory.",
    ),
    click.option(
        "--sleep-after",
        type=TIME,
        metavar="TIME",
        help="Free a model that had no request for this long, such as 10m; the next request loads it again.",
    ),
    click.option(
        "--session-dir",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Keep the KV cache of conversations in this directory, over restarts. Whoever writes there may run code.",
    ),
    click.option(
        "--session-limit",
        type=SIZE,
        metavar="SIZE",
        help="Size of --session-dir; the least recently used is removed first. Default: 4G.",
    ),
    click.option(
        "--batch-dir",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Answer batches (/v1/batches), and keep them and their files in this directory. Default: no batches.",
    ),
    click.option(
        "--batch-limit",
        type=SIZE,
        metavar="SIZE",
        help="Size of the files in --batch-dir; further uploads are refused. Default: 4G.",
    ),
    click.option(
        "--timeout", type=float, metavar="SECONDS", help="Maximum time of an answer, in seconds. Default: 3600."
    ),
)


@dataclass(frozen=True, slots=True)
class ServerChoice:
    """What the options say of the server's settings."""

    tools: Path | None = None
    mcp: Path | None = None
    research_sources: tuple[str, ...] = ()
    research_allow: tuple[str, ...] = ()
    research_allow_private: tuple[str, ...] = ()
    research_mcp_search: str | None = None
    research_mcp_fetch: str | None = None
    alias: str | None = None
    api_keys: tuple[str, ...] = ()
    api_key_file: Path | None = None
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    timeout: float | None = None
    sleep_after: float | None = None
    """Seconds."""
    models_max: int | None = None
    batch_dir: Path | None = None
    batch_limit: float | None = None
    """Bytes."""


def server_options(command: Any) -> Any:
    """Add the options that only the server has."""
    for option in reversed(SERVER_OPTIONS):
        command = option(command)
    return command
