"""POST /v1/messages and /v1/messages/count_tokens."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response

from glm_gguf.server.anthropic_messages.events import MessageEvents, MessageFrame
from glm_gguf.server.anthropic_messages.request import CountRequest, MessageRequest
from glm_gguf.server.anthropic_messages.response import TokenCount, WholeMessage
from glm_gguf.server.bodies.ignored_fields import note_ignored
from glm_gguf.server.bodies.json_body import JsonRoute
from glm_gguf.server.bodies.wire import new_id
from glm_gguf.server.docs.openapi import ANTHROPIC_ERRORS, stream_response
from glm_gguf.server.service import Service
from glm_gguf.server.streams.sse import named
from glm_gguf.server.streams.wire_stream import read_to_end, wire_stream

PING: Final = named("ping", '{"type": "ping"}')
router = APIRouter(route_class=JsonRoute, tags=["Anthropic"])


@router.post(
    "/v1/messages",
    summary="Answer a conversation (Anthropic)",
    response_model=WholeMessage,
    responses=ANTHROPIC_ERRORS
    | stream_response('event: message_start\ndata: {"type": "message_start", "message": {}}\n\n'),
)
async def create(body: MessageRequest, request: Request) -> Response:
    """Answer a conversation, whole or as a stream of server-sent events."""
    service: Service = request.app.state.service
    note_ignored(request, body.left_out)
    answer_request = await service.prepared(request, body.to_request)
    model = await service.model(request, body.model)
    answer = await service.begin(request, model, answer_request)
    frame = MessageFrame(new_id("msg_"), model.name, body.thoughts, answer[0].prompt_tokens)
    fold = MessageEvents(frame, new_id)
    if body.stream:
        return service.sse_response(wire_stream(fold, answer), PING)
    await read_to_end(request, fold, answer)
    return WholeMessage.model_validate(fold.message).response()


@router.post(
    "/v1/messages/count_tokens",
    summary="Count a conversation's tokens (Anthropic)",
    response_model=TokenCount,
    responses=ANTHROPIC_ERRORS,
)
async def count_tokens(body: CountRequest, request: Request) -> Response:
    """Count the tokens of a conversation's prompt."""
    service: Service = request.app.state.service
    answer_request = await service.prepared(request, body.to_request)
    tokens = await service.count(request, await service.model(request, body.model), answer_request)
    return TokenCount(input_tokens=tokens).response()
