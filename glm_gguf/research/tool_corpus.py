"""Two tools as a corpus: one that searches and one that reads, such as those of an MCP server.

Servers that were made for research answer with JSON: a list of results with titles and addresses, and a page with its
text. What another server answers is one hit, whose page is the whole text.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from glm_gguf.chat.events import ToolCall
from glm_gguf.chat.tools import Toolbox
from glm_gguf.errors import CorpusError, RequestError
from glm_gguf.loop_thread import LoopThread
from glm_gguf.research.call_limit import CallLimit
from glm_gguf.research.corpus import Hit, Page
from glm_gguf.research.document_text import title_line
from glm_gguf.research.passages import SNIPPET
from glm_gguf.whole_json import whole_json

QUERIES: Final = ("query", "q", "search_query", "text", "pattern")
ADDRESSES: Final = ("id", "url", "uri", "address", "path", "name")
"""Names of arguments and fields that servers use; the first that is there counts."""
TEXTS: Final = ("text", "content", "snippet", "summary", "description", "body")


class ToolCorpus:
    """Searches with the tool named `search`, and opens the addresses of its hits with the tool named `fetch`.

    `ToolCorpus([*servers], "wiki__search", "wiki__fetch")`. Without `fetch`, a page is what the search told of it.
    A call of an `async def`, such as a server's tool, is cancelled at the limit.
    """

    def __init__(
        self,
        tools: Sequence[Callable[..., Any]],
        search: str,
        fetch: str | None = None,
        limit: CallLimit | None = None,
    ) -> None:
        self._limit = CallLimit() if limit is None else limit
        self._box = Toolbox.of(list(tools))
        self._search, self._query = search, self._argument(search, "search", QUERIES)
        self._fetch = fetch
        self._address = None if fetch is None else self._argument(fetch, "fetch", ADDRESSES)
        self._addresses = ADDRESSES if self._address is None else (self._address, *ADDRESSES)
        self._found: dict[str, Page] = {}

    def search(self, query: str, most: int = 10) -> Sequence[Hit]:
        """Return what the tool found; CorpusError for an error of the tool."""
        text = self._called(self._search, self._query, query)
        results = _results(text)
        if results is None:
            results = [{"title": query, "id": f"{self._search}: {query}", "text": text}] if text.strip() else []
        hits = []
        for result in results[: max(most, 0)]:
            address, body = _first(result, self._addresses), _first(result, TEXTS) or ""
            if address is None:
                continue
            title = title_line(_first(result, ("title",)) or "", address)
            self._found[address] = Page(title, address, body)
            hits.append(Hit(title, address, body[:SNIPPET]))
        return hits

    def open(self, address: str) -> Page:
        """Return a page by the address of a hit, or by another one that the tool knows."""
        found = self._found.get(address)
        if self._fetch is None or address.startswith(f"{self._search}: "):
            if found is None:
                raise CorpusError("no search has found this page", where=address, fix="open the address of a hit")
            return found
        assert self._address is not None
        text = self._called(self._fetch, self._address, address)
        page = _object(text)
        title = address if found is None else found.title
        if page is not None and (body := _first(page, TEXTS)) is not None:
            return Page(title_line(_first(page, ("title",)) or "", title), address, body)
        return Page(title, address, text)

    def _argument(self, name: str, field: str, known: Sequence[str]) -> str:
        """Return the argument of a tool that takes the text; RequestError without such a tool, or such an argument."""
        declared = {one["function"]["name"]: one["function"].get("parameters", {}) for one in self._box.declarations}
        if name not in declared:
            told = ", ".join(declared) or "none"
            raise RequestError(f"there is no tool {name!r}", field=field, fix=f"there are: {told}")
        properties, required = declared[name].get("properties", {}), declared[name].get("required", [])
        kinds = {one: schema.get("type") for one, schema in properties.items() if isinstance(schema, Mapping)}
        texts = [one for one, kind in kinds.items() if kind == "string"]
        asked = [one for one in known if one in texts] or [one for one in required if one in texts]
        if not asked or set(required) - {asked[0]}:
            what = f"the tool {name!r} takes more than one text" if asked else f"the tool {name!r} takes no text"
            raise RequestError(what, field=field, fix="name another tool")
        return asked[0]

    def _called(self, name: str, argument: str, value: str) -> str:
        call = ToolCall(name, json.dumps({argument: value}))
        text = self._box.answer(call, self._awaited)
        failed = _object(text)
        if failed is not None and list(failed) == ["error"]:
            raise CorpusError(f"{name}: {failed['error']}", where=value)
        return text

    def _awaited(self, result: Awaitable[Any]) -> Any:
        """Wait for a call within the limit, and for no thread that it leaves behind."""
        loop = LoopThread("a corpus's event loop")
        try:
            return loop.submit(self._limit.awaited(result)).result()
        finally:
            loop.close()


def _results(text: str) -> list[Mapping[str, Any]] | None:
    """Return the results of a search in JSON; None for another text."""
    value = _json(text)
    lists = [one for one in value.values() if isinstance(one, list)] if isinstance(value, dict) else [value]
    found = next((one for one in lists if isinstance(one, list)), None)
    return None if found is None else [one for one in found if isinstance(one, Mapping)]


def _object(text: str) -> Mapping[str, Any] | None:
    value = _json(text)
    return value if isinstance(value, dict) else None


def _json(text: str) -> Any:
    """Return a value in JSON; None for another text."""
    try:
        return whole_json(text)
    except ValueError:
        return None


def _first(result: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """Return the first text that is not empty; a number counts as one."""
    values = (str(value) for name in names if isinstance(value := result.get(name), str | int))
    return next((value for value in values if value.strip()), None)
