"""POST /v1/chat/completions."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from glm_gguf.server.bodies.form_fields import naming_field
from glm_gguf.server.bodies.ignored_fields import note_ignored
from glm_gguf.server.bodies.json_body import JsonRoute
from glm_gguf.server.chat_completions.chunks import ChunkWriter
from glm_gguf.server.chat_completions.request import ChatCompletionRequest
from glm_gguf.server.chat_completions.response import AnswerForm, ChatCompletion, chat_completion
from glm_gguf.server.docs.openapi import OPENAI_ERRORS, stream_response
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
    model = await service.model(request, body.model)
    answer_request, hidden = await service.prepared(request, body.to_request), body.hides_thought
    note_ignored(request, [*body.unmet(model.glm.variant), *body.unread(model.glm.template_variables)])
    with naming_field(body.requested_form()):
        answers = await service.begin(request, model, answer_request)
    form = AnswerForm(
        answer_request.sampling.logprobs is not None,
        body.legacy,
        body.includes_usage,
        hidden,
        body.return_progress is True,
    )
    if not body.stream:
        return chat_completion(await gather_events(request, answers), model.name, model.fingerprint, form).response()
    writer = ChunkWriter(answer_request.n, model.name, model.fingerprint, form)
    return service.sse_response(chunk_stream(writer, answers, usage=form.usage))
