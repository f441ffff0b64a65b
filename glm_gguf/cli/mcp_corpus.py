"""The tools of an MCP server as what `glm-gguf research` looks things up in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from glm_gguf.errors import RequestError

if TYPE_CHECKING:
    from glm_gguf.research.corpus import Corpus


@contextmanager
def mcp_corpus(given: Mapping[str, Any]) -> Iterator[Corpus | None]:
    """Start the servers of --mcp, and yield their corpus; None without the option. RequestError for options alone."""
    if given["mcp"] is None:
        for name in ("mcp_search", "mcp_fetch"):
            if given[name] is not None:
                raise RequestError("no MCP server is started", field=name, fix="name a file of servers by --mcp")
        yield None
        return
    if given["searxng"] is not None:
        raise RequestError("--searxng searches the web already", field="mcp", fix="give one of them")
    if given["mcp_search"] is None:
        fix = "name it, such as wiki__search: the server's name in the file, two underscores, and the tool's"
        raise RequestError("which tool searches?", field="mcp_search", fix=fix)
    from glm_gguf.cli.termination import terminable
    from glm_gguf.mcp.servers import McpServers
    from glm_gguf.research.tool_corpus import ToolCorpus

    with terminable(), McpServers(given["mcp"]) as servers:
        yield ToolCorpus([*servers], given["mcp_search"], given["mcp_fetch"])
