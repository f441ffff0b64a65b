"""The tools of an MCP server as what `glm-gguf research` and `serve` look things up in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from glm_gguf.errors import RequestError

if TYPE_CHECKING:
    from glm_gguf.research.call_limit import CallLimit
    from glm_gguf.research.corpus import Corpus


@contextmanager
def mcp_corpus(given: Mapping[str, Any]) -> Iterator[Callable[[CallLimit], Corpus] | None]:
    """Start the servers of --mcp, and yield what makes their corpus; None without the option.

    RequestError for options that nothing would heed.
    """
    if given["mcp"] is None:
        for name in ("search", "fetch"):
            if given[f"mcp_{name}"] is not None:
                raise RequestError("no MCP server is started", field=f"--mcp-{name}", fix="name their file by --mcp")
        yield None
        return
    if given["searxng"] is not None:
        raise RequestError("--searxng searches the web already", field="--mcp", fix="give one of them")
    if given["mcp_search"] is None:
        fix = "name it, such as wiki__search: the server's name in the file, two underscores, and the tool's"
        raise RequestError("which tool searches?", field="--mcp-search", fix=fix)
    from glm_gguf.cli.termination import terminable
    from glm_gguf.mcp.servers import McpServers

    with terminable(), McpServers(given["mcp"]) as servers:
        yield tool_corpus([*servers], given["mcp_search"], given["mcp_fetch"], "--mcp")


def tool_corpus(
    tools: Sequence[Callable[..., Any]], search: str, fetch: str | None, option: str
) -> Callable[[CallLimit], Corpus]:
    """Return what makes a corpus of two tools; RequestError names `option` with `-search` or `-fetch` behind it."""
    from glm_gguf.research.tool_corpus import ToolCorpus

    def made(limit: CallLimit | None = None) -> Corpus:
        return ToolCorpus(tools, search, fetch, limit)

    try:
        made()
    except RequestError as error:
        raise RequestError(error.what, field=f"{option}-{error.field}", fix=error.fix) from error
    return made
