"""POST /api/chat and /api/generate."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import Final

from fastapi import APIRouter, Request, Response

from glm_gguf.answers.prepared_answer import AsyncEvents
from glm_gguf.server.answer_request import require_modest_form, require_short_prompt
from glm_gguf.server.bodies.ignored_fields import note_ignored
from glm_gguf.server.bodies.json_body import JsonRoute
from glm_gguf.server.completions.request import preparation
from glm_gguf.server.docs.openapi import OLLAMA_ERRORS, line_response
from glm_gguf.server.ollama.events import ReplyEvents
from glm_gguf.server.ollama.request import OllamaChatRequest, OllamaGenerateRequest, OllamaRequest
from glm_gguf.server.ollama.response import ChatReply, GenerateReply, ReplyForm
from glm_gguf.server.problem import Problem, Refused
from glm_gguf.server.service import Service
from glm_gguf.server.streams.merge import gather_events
from glm_gguf.server.streams.sse import StreamForm
from glm_gguf.server.streams.wire_stream import line_stream

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
    service: Service = request.app.state.service
    form = _form(service, request, body, chat=True)
    if body.loads_only:
        return form.nothing("load").response()
    answers = await service.begin(request, await service.prepared(request, body.to_request))
    return await _reply(request, body, form, answers)


@router.post(
    "/api/generate",
    summary="Answer or continue a text (Ollama)",
    response_model=GenerateReply,
    responses=OLLAMA_ERRORS | line_response('{"response": "Hello", "done": false}\n'),
)
async def generate(body: OllamaGenerateRequest, request: Request) -> Response:
    """Answer a text, or continue it with `raw`, as lines of JSON unless `stream` is false."""
    service: Service = request.app.state.service
    form = _form(service, request, body, chat=False)
    if body.loads_only:
        return form.nothing("load").response()
    if body.raw:
        answers = await _continued(service, request, body)
    else:
        answers = await service.begin(request, await service.prepared(request, body.to_request))
    return await _reply(request, body, form, answers)


def _form(service: Service, request: Request, body: OllamaRequest, *, chat: bool) -> ReplyForm:
    """Take the times of a request, and note what it asks for in vain."""
    arrived = perf_counter()
    glm = service.glm
    loaded = perf_counter()
    if body.frees_model:
        what = "keep_alive: the model stays loaded as long as the server runs; end the server to free it"
        raise Refused(Problem(400, f"{what}.", param="keep_alive"))
    note_ignored(request, body.unmet(glm))
    return ReplyForm(chat, service.settings.model_name, arrived, loaded)


async def _continued(service: Service, request: Request, body: OllamaGenerateRequest) -> list[AsyncEvents]:
    """Begin the continuation of a text."""
    prompt, limits = body.prompt or "", service.settings.limits
    options = service.with_time_limit(body.text_options())
    require_modest_form(options.get("response_format"), limits)
    require_short_prompt([prompt], "prompt", limits)
    sampling = replace(body.sampling().filled(service.settings.sampling), thinking_budget=None)
    ready = preparation(prompt, sampling, options)
    return await service.begin_prepared(request, [ready], 1, costly="response_format" in options)


async def _reply(request: Request, body: OllamaRequest, form: ReplyForm, answers: list[AsyncEvents]) -> Response:
    """Write an answer, in lines or in one piece."""
    service: Service = request.app.state.service
    fold = ReplyEvents(form, logprobs=bool(body.logprobs))
    if body.stream is not False:
        return service.streamed_response(line_stream(fold, answers), LINES)
    for events in await gather_events(request, answers):
        for event in events:
            list(fold.feed(event))
    return fold.whole.response()
