"""POST /api/chat and /api/generate."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import Final

from fastapi import APIRouter, Request, Response

from glm_gguf.answers.prepared_answer import AsyncEvents
from glm_gguf.server.answer_request import require_modest_form, require_short_prompt
from glm_gguf.server.bodies.json_body import JsonRoute
from glm_gguf.server.completions.request import preparation
from glm_gguf.server.docs.openapi import OLLAMA_ERRORS, line_response
from glm_gguf.server.ollama.events import ReplyEvents
from glm_gguf.server.ollama.request import OllamaChatRequest, OllamaGenerateRequest, OllamaRequest
from glm_gguf.server.ollama.requested_model import free_model, requested_model
from glm_gguf.server.ollama.response import ChatReply, GenerateReply, ReplyForm
from glm_gguf.server.pool.pooled_model import LoadedModel
from glm_gguf.server.service import Service
from glm_gguf.server.streams.merge import gather_events
from glm_gguf.server.streams.sse import StreamForm
from glm_gguf.server.streams.wire_stream import folded_lines, line_stream

LINES: Final = StreamForm("application/x-ndjson", b" ")
"""A space before a line is part of no value in JSON; an empty line would be an error for many clients."""
router = APIRouter(route_class=JsonRoute, tags=["Ollama"])


@router.post(
    "/api/chat",
    summary="Answer a conversation (Ollama)",
    response_model=ChatReply,
    responses=OLLAMA_ERRORS | line_response('{"message": {"role": "assistant", "content": "Hello"}, "done": false}\n'),
)
async def chat(body: OllamaChatRequest, request: Request) -> Response:
    """Answer a conversation, as lines of JSON unless `stream` is false."""
    return await _answer(request, body)


@router.post(
    "/api/generate",
    summary="Answer or continue a text (Ollama)",
    response_model=GenerateReply,
    responses=OLLAMA_ERRORS | line_response('{"response": "Hello", "done": false}\n'),
)
async def generate(body: OllamaGenerateRequest, request: Request) -> Response:
    """Answer a text, or continue it with `raw`, as lines of JSON unless `stream` is false."""
    return await _answer(request, body)


async def _answer(request: Request, body: OllamaChatRequest | OllamaGenerateRequest) -> Response:
    service: Service = request.app.state.service
    model, form = await _opened(request, body, is_chat=isinstance(body, OllamaChatRequest))
    if model is None:
        return form.nothing("unload").response()
    if body.loads_only:
        return form.nothing("load").response()
    if isinstance(body, OllamaGenerateRequest) and body.raw:
        return await _reply(request, body, form, await _continued(service, request, model, body))
    answer_request = await service.prepared(request, body.to_request)
    return await _reply(request, body, form, await service.begin(request, model, answer_request))


async def _opened(request: Request, body: OllamaRequest, *, is_chat: bool) -> tuple[LoadedModel | None, ReplyForm]:
    """Load the model of a request, or free it where the request asks for that: then there is none."""
    service: Service = request.app.state.service
    arrived = perf_counter()
    if body.frees_model:
        return None, ReplyForm(is_chat, free_model(service, body), arrived, arrived)
    model = await requested_model(service, request, body)
    return model, ReplyForm(is_chat, model.name, arrived, perf_counter())


async def _continued(
    service: Service, request: Request, model: LoadedModel, body: OllamaGenerateRequest
) -> list[AsyncEvents]:
    """Begin the continuation of a text."""
    prompt, limits = body.prompt or "", service.settings.limits
    options = service.for_server(body.text_options())
    require_modest_form(options.get("response_format"), limits)
    require_short_prompt([prompt], "prompt", limits)
    sampling = replace(body.sampling_params().filled(service.settings.sampling), thinking_budget=None)
    ready = preparation(prompt, sampling, options)
    return await service.begin_prepared(request, model, [ready], 1, costly="response_format" in options)


async def _reply(request: Request, body: OllamaRequest, form: ReplyForm, answers: list[AsyncEvents]) -> Response:
    """Write an answer, in lines or in one piece."""
    service: Service = request.app.state.service
    fold = ReplyEvents(form, logprobs=bool(body.logprobs))
    if body.stream is not False:
        return service.streamed_response(line_stream(folded_lines(fold, answers)), LINES)
    for events in await gather_events(request, answers):
        for event in events:
            list(fold.feed(event))
    return fold.whole.response()
