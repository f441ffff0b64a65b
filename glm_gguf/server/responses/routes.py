"""POST /v1/responses."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from glm_gguf.server.bodies.ignored_fields import note_ignored
from glm_gguf.server.bodies.json_body import JsonRoute
from glm_gguf.server.bodies.wire import new_id
from glm_gguf.server.docs.openapi import OPENAI_ERRORS, stream_response
from glm_gguf.server.research.question import question_of
from glm_gguf.server.research.researches import gathered
from glm_gguf.server.responses.events import ResponseEvents
from glm_gguf.server.responses.kept_items import KeptItems
from glm_gguf.server.responses.request import ResponseRequest
from glm_gguf.server.responses.response import InputTokenCount, WholeResponse, response_frame
from glm_gguf.server.responses.web_search import FIELD, SearchFold, require_plain_search
from glm_gguf.server.service import Service
from glm_gguf.server.streams.wire_stream import read_to_end, wire_stream

router = APIRouter(route_class=JsonRoute, tags=["OpenAI"])


@router.post(
    "/v1/responses",
    summary="Answer a conversation (OpenAI's Responses)",
    response_model=WholeResponse,
    responses=OPENAI_ERRORS | stream_response('event: response.created\ndata: {"type": "response.created"}\n\n'),
)
async def create(body: ResponseRequest, request: Request) -> Response:
    """Answer a conversation, whole or as a stream of server-sent events. Its items are kept a while for references."""
    service: Service = request.app.state.service
    kept: KeptItems = request.app.state.kept_items
    body = kept.resolved(body)
    note_ignored(request, body.left_out)
    if body.searches:
        return await _researched(body, request)
    answer_request = await service.prepared(request, body.to_request)
    model = await service.model(request, body.model)
    answer = await service.begin(request, model, answer_request)
    frame = response_frame(body, new_id("resp_"), model.name, int(time.time()))
    fold = ResponseEvents(frame, new_id, summary=body.wants_summary, tools=body.offered, keep=_keeping(body, request))
    if body.stream:
        return service.sse_response(wire_stream(fold, answer))
    await read_to_end(request, fold, answer)
    return WholeResponse.model_validate(fold.response).response()


def _keeping(body: ResponseRequest, request: Request) -> Callable[[dict[str, Any]], None]:
    """Return what keeps the items of an answer; `store`: false wants none kept."""
    kept: KeptItems = request.app.state.kept_items
    return kept.keep if body.store is not False else lambda item: None


async def _researched(body: ResponseRequest, request: Request) -> Response:
    """Answer a request with web_search by a research."""
    service: Service = request.app.state.service
    service.researches.require_sources(FIELD)
    require_plain_search(body)
    question = await service.prepared(
        request, lambda: question_of(body.to_request(), service.settings, body.max_tool_calls)
    )
    model = await service.model(request, body.model)
    begun = partial(question.researched, model.glm)
    events = await service.researches.begin(request, begun, FIELD, question.look_up_seconds)
    frame = response_frame(body, new_id("resp_"), model.name, int(time.time()))
    fold = SearchFold(ResponseEvents(frame, new_id, summary=body.wants_summary, keep=_keeping(body, request)))
    if body.stream:
        return service.sse_response(fold.stream(events))
    for event in await gathered(request, events):
        deque(fold.feed(event), maxlen=0)
    return WholeResponse.model_validate(fold.response).response()


@router.post(
    "/v1/responses/input_tokens",
    summary="Count a conversation's tokens (OpenAI's Responses)",
    response_model=InputTokenCount,
    responses=OPENAI_ERRORS,
)
async def count_tokens(body: ResponseRequest, request: Request) -> Response:
    """Count the tokens of the prompt that a response would answer."""
    service: Service = request.app.state.service
    kept: KeptItems = request.app.state.kept_items
    body = kept.resolved(body)
    answer_request = await service.prepared(request, body.to_request)
    tokens = await service.count(request, await service.model(request, body.model), answer_request)
    return InputTokenCount(object="response.input_tokens", input_tokens=tokens).response()
