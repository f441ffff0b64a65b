"""POST /page-research/{id}: questions of the page are researched, and go on while it is reloaded, as answers do."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import asdict
from functools import partial
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from glm_gguf.chat.events import PrefillProgress, ReasoningDelta, TextDelta
from glm_gguf.model import GLM
from glm_gguf.research.corpus import Corpus
from glm_gguf.research.research_events import (
    CallFailed,
    Note,
    Opened,
    Report,
    ReportStarted,
    ResearchEvent,
    Searched,
    Source,
    TurnStarted,
)
from glm_gguf.research.searched_writing import SearchedEvent
from glm_gguf.research.sourced_writing import SourcedText
from glm_gguf.server.bodies.json_body import JsonRoute
from glm_gguf.server.chat_completions.request import ChatCompletionRequest
from glm_gguf.server.page.answers import Identifier, begin_kept
from glm_gguf.server.page.kept_answers import KeptAnswers
from glm_gguf.server.research.question import Question, question_of
from glm_gguf.server.service import Service
from glm_gguf.server.streams.sse import data
from glm_gguf.server.streams.wire_stream import ended_stream

FIELD: Final = "research"
PageEvent = ResearchEvent | SearchedEvent


def research_router(kept: KeptAnswers) -> APIRouter:
    """Return the route, for the server's own page only; /page-answers/{id} resumes and stops what it begins."""
    router = APIRouter(route_class=JsonRoute, include_in_schema=False)

    @router.post("/page-research/{identifier}")
    async def begin(identifier: Identifier, body: ChatCompletionRequest, request: Request) -> Response:
        async def pieces() -> AsyncGenerator[bytes, None]:
            service: Service = request.app.state.service
            service.researches.require_sources(FIELD)
            question = await service.prepared(request, lambda: question_of(body.to_request(), service.settings))
            model = await service.model(request, body.model)
            begun, seconds = _begun(body, question, model.glm), question.look_up_seconds
            if body.web_search_options is not None:
                seconds = question.options.total_seconds
            return ended_stream(_chunks(await service.researches.begin(request, begun, FIELD, seconds)))

        return await begin_kept(kept, identifier, request, pieces)

    return router


def _begun(
    body: ChatCompletionRequest, question: Question, glm: GLM
) -> Callable[[Corpus], Generator[PageEvent, None, None]]:
    """Return a research, or where the request has `web_search_options` a text from one search."""
    if body.web_search_options is None:
        return partial(question.researched, glm)
    return partial(question.written, glm, body.web_search_options.most)


async def _chunks(events: AsyncGenerator[PageEvent, None]) -> AsyncGenerator[bytes, None]:
    """Write a research as chunks of chat completions, in whose deltas `research` holds a step."""
    async with aclosing(events):
        async for event in events:
            for chunk in _written(event):
                yield data(json.dumps(chunk))


def _written(event: PageEvent) -> Iterator[dict[str, Any]]:
    match event:
        case PrefillProgress(done, total, cached):
            yield {"choices": [], "prompt_progress": {"processed": done, "total": total, "cache": cached}}
        case TextDelta(text):
            yield _delta(content=text)
        case ReasoningDelta(text):
            yield _delta(reasoning_content=text)
        case TurnStarted(number):
            yield _delta(research={"kind": "turn", "number": number})
        case Note(text):
            yield _delta(research={"kind": "note", "text": text})
        case Searched(query, hits):
            found = [{"title": hit.title, "address": hit.address} for hit in hits]
            yield _delta(research={"kind": "search", "query": query, "hits": found})
        case Opened(title, address, part, parts):
            yield _delta(research={"kind": "page", "title": title, "address": address, "part": part, "parts": parts})
        case CallFailed(_, error):
            yield _delta(research={"kind": "failed", "error": error})
        case ReportStarted(ended_by):
            yield _delta(research={"kind": "report", "endedBy": ended_by})
        case Report():
            yield from _ended(event.sources, event.prompt_tokens, event.tokens, complete=event.complete)
        case SourcedText(usage=usage):
            yield from _ended(event.references, usage.prompt_tokens, usage.completion_tokens, complete=event.complete)


def _ended(sources: Sequence[Source], prompt: int, answer: int, *, complete: bool) -> Iterator[dict[str, Any]]:
    yield _delta(research={"kind": "sources", "sources": [asdict(source) for source in sources]})
    yield _delta("stop" if complete else "length")
    yield {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": answer}}


def _delta(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
