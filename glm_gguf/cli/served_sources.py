"""The sources of `glm-gguf serve --research-sources`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from glm_gguf.cli.called_tools import CalledTools
from glm_gguf.cli.mcp_corpus import tool_corpus
from glm_gguf.cli.server_options import ServerChoice
from glm_gguf.errors import RequestError

if TYPE_CHECKING:
    from glm_gguf.research.call_limit import CallLimit
    from glm_gguf.research.corpus import Corpus
    from glm_gguf.research.research_sources import ResearchSources

FIELD: Final = "--research-sources"
SEARCH: Final = "--research-mcp-search"
SCHEMES: Final = ("http://", "https://")


def served_sources(given: ServerChoice, called: CalledTools) -> ResearchSources | None:
    """Return what the options name, its folder's index brought up to date; None without one.

    `called` has the tools of the servers that run.
    """
    from glm_gguf.cli.research_view import show_update
    from glm_gguf.research.fetch_rules import FetchRules
    from glm_gguf.research.research_sources import ResearchSources

    if not all(one.strip() for one in given.research_sources):
        raise RequestError("it is empty", field=FIELD, fix="name a folder or a SearXNG server, or leave it out")
    servers = [one for one in given.research_sources if one.startswith(SCHEMES)]
    folders = [Path(one) for one in given.research_sources if not one.startswith(SCHEMES)]
    _require_one(folders, "folder")
    _require_one(servers, "SearXNG server")
    for name in ("research_allow", "research_allow_private"):
        if getattr(given, name) and not servers:
            fix = f"name a SearXNG server by {FIELD}, or leave it out"
            raise RequestError("no page of the web is opened", field=f"--{name.replace('_', '-')}", fix=fix)
    tools = _tools(given, called)
    if not given.research_sources and tools is None:
        return None
    if tools is not None and servers:
        raise RequestError("a SearXNG server searches the web already", field=SEARCH, fix="give one of them")
    rules = FetchRules(hosts=given.research_allow, private_hosts=given.research_allow_private)
    sources = ResearchSources(folders[0] if folders else None, servers[0] if servers else None, rules, tools)
    with sources.opened(lambda update: show_update(folders[0], update)):
        named = [*given.research_sources, *([] if tools is None else [given.research_mcp_search])]
        click.echo(f"questions are researched in {', '.join(map(str, named))}", err=True)
    return sources


def _tools(given: ServerChoice, called: CalledTools) -> Callable[[CallLimit], Corpus] | None:
    """Return what makes a corpus of the named tools; None without them."""
    if given.research_mcp_search is None:
        if given.research_mcp_fetch is not None:
            raise RequestError("which tool searches?", field="--research-mcp-fetch", fix=f"name it by {SEARCH}")
        return None
    if called.servers is None:
        raise RequestError("no MCP server is started", field=SEARCH, fix="name their file by --mcp")
    return tool_corpus([*called.servers], given.research_mcp_search, given.research_mcp_fetch, "--research-mcp")


def _require_one(given: Sequence[object], what: str) -> None:
    if len(given) > 1:
        raise RequestError(f"{given[1]} is a second {what}", field=FIELD, fix="give one")
