"""A response with the tool web_search: a research whose look-ups are items, and whose report cites the pages."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from glm_gguf.chat.events import Finish, PrefillProgress, ReasoningDelta, TextDelta, Usage
from glm_gguf.errors import RequestError
from glm_gguf.research.research_events import (
    CallFailed,
    Note,
    Opened,
    Report,
    ResearchEvent,
    Searched,
    Source,
)
from glm_gguf.server.research.search_size import SOURCES
from glm_gguf.server.responses.events import ResponseEvents
from glm_gguf.server.responses.request import ResponseRequest
from glm_gguf.server.responses.tools import is_web_search
from glm_gguf.server.streams.wire_stream import WireEvent, progress_comment, stream_problem, written_events

FIELD: Final = "tools"
"""The field of a request that asks for a research."""
NEGLIGIBLE: Final = ("type", "search_context_size", "user_location", "external_web_access", "search_content_types")
"""Fields of the tool without an effect on what is right; any other would be broken silently."""


def require_plain_search(request: ResponseRequest) -> None:
    """Raise RequestError for a field of the tool that a research would break, such as a filter of hosts."""
    for index, tool in enumerate(request.tools or ()):
        given = {name for name, value in (tool.model_extra or {}).items() if value not in (None, {}, [])}
        if is_web_search(tool.type) and (unmet := sorted(given - set(NEGLIGIBLE))):
            fix = "leave it out: the server's options say what is searched"
            raise RequestError("a research does not heed it", field=f"{FIELD}[{index}].{unmet[0]}", fix=fix)
        size = (tool.model_extra or {}).get("search_context_size")
        if is_web_search(tool.type) and size not in (None, *SOURCES):
            what, fix = f"{size!r} is no size", f"give {', '.join(SOURCES)}"
            raise RequestError(what, field=f"{FIELD}[{index}].search_context_size", fix=fix)


class SearchFold:
    """Translates the events of a research into those of a response."""

    def __init__(self, events: ResponseEvents) -> None:
        self._events = events

    @property
    def response(self) -> dict[str, Any]:
        """The response so far."""
        return self._events.response

    def feed(self, event: ResearchEvent) -> Iterator[WireEvent]:
        """Translate the next event. Words before a call, and calls of nothing, are thoughts: no answer."""
        match event:
            case ReasoningDelta() | TextDelta():
                yield from self._events.feed(event)
            case Note(text):
                yield from self._events.feed(ReasoningDelta(text))
            case CallFailed(call, error, query=None, address=None):
                yield from self._events.feed(ReasoningDelta(f"{call}\n{error}\n"))
            case Searched() | Opened() | CallFailed():
                yield from self._events.looked_up(_action(event), failed=isinstance(event, CallFailed))
            case Report(text=text, sources=sources):
                yield from self._events.annotate(url_citations(text, sources))
                usage = Usage(prompt_tokens=event.prompt_tokens, completion_tokens=event.tokens)
                yield from self._events.feed(Finish("length" if event.limited else "stop", usage))

    async def stream(self, events: AsyncGenerator[ResearchEvent, None]) -> AsyncGenerator[bytes, None]:
        """Write a research as server-sent events; an error becomes the last one."""
        try:
            yield written_events(self._events.begin())
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, PrefillProgress):
                        yield progress_comment(event)
                    elif written := written_events(self.feed(event)):
                        yield written
        except Exception as error:  # the outermost edge: inside a stream only an event can report it
            yield written_events(self._events.fail(stream_problem(error)))


def _action(event: Searched | Opened | CallFailed) -> dict[str, Any]:
    match event:
        case Searched(query, hits):
            sources = [{"type": "url", "url": hit.address, "title": hit.title} for hit in hits]
            return {"type": "search", "query": query, "sources": sources}
        case Opened(title, address):
            return {"type": "open_page", "url": address, "title": title}
        case CallFailed(error=error, address=None):
            return {"type": "search", "query": event.query, "error": error}
        case CallFailed(error=error):
            return {"type": "open_page", "url": event.address, "error": error}


def url_citations(text: str, sources: Sequence[Source]) -> list[dict[str, Any]]:
    """Return where a text names the addresses of its sources, as OpenAI's annotations; a Markdown link counts whole."""
    by_address: Mapping[str, Source] = {source.address: source for source in sources}
    if not by_address:
        return []
    known = "|".join(re.escape(address) for address in sorted(by_address, key=len, reverse=True))
    pattern = re.compile(rf"\[[^\]\n]*\]\(<?(?P<linked>{known})>?\)|(?<![\w/.-])(?P<plain>{known})(?![\w/-]|\.\w)")
    return [
        {
            "type": "url_citation",
            "start_index": found.start(),
            "end_index": found.end(),
            "url": (address := found["linked"] or found["plain"]),
            "title": by_address[address].title,
        }
        for found in pattern.finditer(text)
    ]
