"""POST /v1/chat/completions."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from fastapi import APIRouter, Request, Response

from glm_gguf.answers.prepared_answer import AsyncEvents
from glm_gguf.server.bodies.form_fields import naming_field
from glm_gguf.server.bodies.ignored_fields import note_ignored
from glm_gguf.server.bodies.json_body import JsonRoute
from glm_gguf.server.chat_completions.chunks import ChunkWriter
from glm_gguf.server.chat_completions.request import ChatCompletionRequest
from glm_gguf.server.chat_completions.response import AnswerForm, ChatCompletion, chat_completion
from glm_gguf.server.chat_completions.service_tools import left_out_tools
from glm_gguf.server.chat_completions.web_search import begin_searched, searched
from glm_gguf.server.docs.openapi import OPENAI_ERRORS, stream_response
from glm_gguf.server.pool.pooled_model import LoadedModel
from glm_gguf.server.service import Service
from glm_gguf.server.streams.merge import gather_events
from glm_gguf.server.streams.wire_stream import chunk_stream

router = APIRouter(route_class=JsonRoute, tags=["OpenAI"])


@router.post(
    "/v1/chat/completions",
    summary="Answer a conversation (OpenAI's chat)",
    response_model=ChatCompletion,
    responses=OPENAI_ERRORS
    | stream_response('data: {"object": "chat.completion.chunk", "choices": []}\n\ndata: [DONE]\n\n'),
)
async def create(body: ChatCompletionRequest, request: Request) -> Response:
    """Answer a conversation, whole or as a stream of server-sent events."""
    service: Service = request.app.state.service
    if body.stream:
        return service.sse_response(await begin_stream(body, request))
    if body.web_search_options is not None:
        return (await searched(body, request)).response()
    model, answers, form = await _begun(body, request)
    return chat_completion(await gather_events(request, answers), model.name, model.fingerprint, form).response()


async def begin_stream(body: ChatCompletionRequest, request: Request) -> AsyncGenerator[bytes, None]:
    """Begin an answer, and return its stream; every refusal happens here."""
    if body.web_search_options is not None:
        return await begin_searched(body, request)
    model, answers, form = await _begun(body, request)
    writer = ChunkWriter(len(answers), model.name, model.fingerprint, form)
    return chunk_stream(writer, answers, usage=form.usage)


async def _begun(body: ChatCompletionRequest, request: Request) -> tuple[LoadedModel, list[AsyncEvents], AnswerForm]:
    """Begin the answers to a request."""
    service: Service = request.app.state.service
    answer_request = await service.prepared(request, body.to_request)
    model = await service.model(request, body.model)
    unread = body.unread(model.glm.template_variables)
    note_ignored(request, [*left_out_tools(body.tools), *body.unmet(model.glm.variant), *unread])
    with naming_field(body.requested_form()):
        answers = await service.begin(request, model, answer_request)
    logprobs = answer_request.sampling.logprobs is not None
    form = AnswerForm(logprobs, body.legacy, body.includes_usage, body.hides_thought, body.return_progress is True)
    return model, answers, form
