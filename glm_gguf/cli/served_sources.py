"""The sources of `glm-gguf serve --research-sources`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from glm_gguf.cli.server_options import ServerChoice
from glm_gguf.errors import RequestError

if TYPE_CHECKING:
    from glm_gguf.research.research_sources import ResearchSources

FIELD: Final = "--research-sources"
SCHEMES: Final = ("http://", "https://")


def served_sources(given: ServerChoice) -> ResearchSources | None:
    """Return what the options name, its folder's index brought up to date; None without one."""
    from glm_gguf.cli.research_view import show_update
    from glm_gguf.research.fetch_rules import FetchRules
    from glm_gguf.research.research_sources import ResearchSources

    servers = [one for one in given.research_sources if one.startswith(SCHEMES)]
    folders = [Path(one) for one in given.research_sources if not one.startswith(SCHEMES)]
    _require_one(folders, "folder")
    _require_one(servers, "SearXNG server")
    for name in ("research_allow", "research_allow_private"):
        if getattr(given, name) and not servers:
            fix = f"name a SearXNG server by {FIELD}, or leave it out"
            raise RequestError("no page of the web is opened", field=f"--{name.replace('_', '-')}", fix=fix)
    if not given.research_sources:
        return None
    rules = FetchRules(hosts=given.research_allow, private_hosts=given.research_allow_private)
    sources = ResearchSources(folders[0] if folders else None, servers[0] if servers else None, rules)
    with sources.opened(lambda update: show_update(folders[0], update)):
        click.echo(f"questions are researched in {', '.join(given.research_sources)}", err=True)
    return sources


def _require_one(given: Sequence[object], what: str) -> None:
    if len(given) > 1:
        raise RequestError(f"{given[1]} is a second {what}", field=FIELD, fix="give one")
