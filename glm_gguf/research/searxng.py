"""A SearXNG server as a corpus: it searches through its JSON API, and the pages are fetched here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlencode

from glm_gguf.errors import CorpusError, RequestError
from glm_gguf.research.corpus import Hit, Page
from glm_gguf.research.document_text import title_line
from glm_gguf.research.fetch_rules import FetchRules
from glm_gguf.research.http_get import Reply, get
from glm_gguf.research.page_fetcher import PageFetcher
from glm_gguf.research.passages import SNIPPET
from glm_gguf.research.public_addresses import Resolver, system_addresses
from glm_gguf.research.web_address import WebAddress, web_address
from glm_gguf.whole_json import whole_json

MOST_BYTES: Final = 2**23
_FIXES: Final = {
    403: "add json to search.formats in its settings.yml",
    429: "it limits how often it is asked: wait, or switch its limiter off",
}


class SearxngCorpus:
    """Searches the web through the SearXNG server at `url`, and opens pages of the web within `rules`.

    The server itself may lie in a private network; the pages may not, unless the rules allow it.
    """

    def __init__(self, url: str, rules: FetchRules | None = None, resolve: Resolver = system_addresses) -> None:
        self._pages = PageFetcher(rules, resolve)
        self._resolve = resolve
        try:
            server = web_address(url, FetchRules())
        except CorpusError as error:
            raise RequestError(error.what, where=url, fix="give an address such as http://localhost:8888") from error
        self._server = replace(server, target=server.target.partition("?")[0].rstrip("/").removesuffix("/search"))
        own = FetchRules(most_bytes=MOST_BYTES, private_hosts=(server.host,), hosts=(server.host,))
        self._rules = own if rules is None else replace(own, seconds=rules.seconds)

    def search(self, query: str, most: int = 10) -> Sequence[Hit]:
        """Return the first hits; CorpusError if the server fails, or none of its engines answers."""
        target = f"{self._server.target}/search?{urlencode({'q': query, 'format': 'json'})}"
        reply = get(replace(self._server, target=target), self._rules, self._resolve, _unchecked)
        if reply.status != 200:
            fix = _FIXES.get(reply.status)
            raise CorpusError(f"SearXNG answered with status {reply.status}", where=self._server.origin, fix=fix)
        found = self._results(reply)
        hits: dict[str, Hit] = {}
        for hit in _hits(found["results"]):
            hits.setdefault(hit.address, hit)
        silent = found.get("unresponsive_engines")
        if not hits and isinstance(silent, list) and silent:
            told = ", ".join(" ".join(map(str, one)) if isinstance(one, list) else str(one) for one in silent)
            raise CorpusError(f"no engine answered: {told[:200]}", where=self._server.origin)
        return list(hits.values())[: max(most, 0)]

    def open(self, address: str) -> Page:
        """Return a page of the web."""
        return self._pages.open(address)

    def _results(self, reply: Reply) -> dict[str, Any]:
        try:
            found = whole_json(reply.body)
        except ValueError as error:
            fix = "does this address belong to a SearXNG server?"
            raise CorpusError("SearXNG answered without JSON", where=self._server.origin, fix=fix) from error
        if not isinstance(found, dict) or not isinstance(found.get("results"), list):
            raise CorpusError("SearXNG answered without results", where=self._server.origin)
        return found


def _hits(results: Sequence[Any]) -> Iterator[Hit]:
    """Yield the results that have an address of the web."""
    for result in results:
        match result:
            case {"url": str(url)} if url.startswith(("http://", "https://")):
                title, content = result.get("title"), result.get("content")
                snippet = " ".join(content.split())[:SNIPPET] if isinstance(content, str) else ""
                yield Hit(title_line(title if isinstance(title, str) else "", url), url, snippet)


def _unchecked(address: WebAddress) -> None:
    """Ask the server of the user's choice, whatever its robots.txt says to others."""
