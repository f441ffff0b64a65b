"""POST /v1/completions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from fastapi import APIRouter, Request, Response

from glm_gguf.answers.prepared_answer import AsyncEvents
from glm_gguf.errors import DeadlineError
from glm_gguf.model import GLM
from glm_gguf.server.bodies.form_fields import naming_field
from glm_gguf.server.bodies.json_body import JsonRoute
from glm_gguf.server.completions.empty_answer import EmptyAnswer
from glm_gguf.server.completions.request import CompletionRequest, Prompt, preparation
from glm_gguf.server.completions.response import Completion
from glm_gguf.server.completions.writer import CompletionWriter, Start
from glm_gguf.server.docs.openapi import OPENAI_ERRORS, stream_response
from glm_gguf.server.pool.pooled_model import LoadedModel
from glm_gguf.server.service import Service
from glm_gguf.server.streams.merge import gather_events
from glm_gguf.server.streams.sse import unless_gone
from glm_gguf.server.streams.wire_stream import chunk_stream

router = APIRouter(route_class=JsonRoute, tags=["OpenAI"])


@router.post(
    "/v1/completions",
    summary="Continue texts",
    response_model=Completion,
    responses=OPENAI_ERRORS | stream_response('data: {"object": "text_completion", "choices": []}\n\ndata: [DONE]\n\n'),
)
async def create(body: CompletionRequest, request: Request) -> Response:
    """Continue texts as they are, without a chat template."""
    service: Service = request.app.state.service
    body.require_possible(service.settings.limits)
    model, n = await service.model(request, body.model), body.n or 1
    starts = await _starts(service, request, model.glm, body)
    with naming_field(body.requested_form()):
        answers = await _begun(service, request, model, body, starts)
    starts = [start for start in starts for _ in range(n)]
    texts = CompletionWriter(model.name, model.fingerprint, starts, n, body.form)
    if body.stream:
        return service.sse_response(chunk_stream(texts, answers, usage=body.form.usage))
    for index, events in enumerate(await gather_events(request, answers)):
        for event in events:
            list(texts.feed(index, event))
    return texts.whole().response()


async def _begun(
    service: Service, request: Request, model: LoadedModel, body: CompletionRequest, starts: Sequence[Start]
) -> list[AsyncEvents]:
    if body.max_tokens == 0:
        return [EmptyAnswer(len(start.tokens)) for start in starts for _ in range(body.n or 1)]
    sampling = replace(body.sampling_params().filled(service.settings.sampling), thinking_budget=None)
    options = service.for_server(body.options())
    prompts = [preparation(prompt, sampling, options) for prompt in body.prompts]
    return await service.begin_prepared(request, model, prompts, body.n or 1, costly="response_format" in options)


async def _starts(service: Service, request: Request, glm: GLM, body: CompletionRequest) -> list[Start]:
    """Return the start of each prompt's continuations; DeadlineError if scoring takes too long."""
    if not body.echo:
        return [Start()] * len(body.prompts)
    seconds = service.time_limit(body.options())
    texts = await service.prepared(request, lambda: [_text(glm, prompt) for prompt in body.prompts])
    try:
        async with asyncio.timeout(seconds):
            return await unless_gone(request.receive, _echoed(glm, body, texts))
    except TimeoutError:
        what = "the time limit passed before the prompts were scored"
        raise DeadlineError(what, fix="give fewer prompts, or a larger timeout") from None


def _text(glm: GLM, prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else glm.detokenize(prompt)


async def _echoed(glm: GLM, body: CompletionRequest, texts: Sequence[str]) -> list[Start]:
    """Score prompts one after another if requested, so that several requests take turns."""
    if not body.scores_prompts and body.max_tokens != 0:
        return [Start(text) for text in texts]
    return [
        Start(text, tuple(await glm.ascore(prompt, body.logprobs or 0, body.lora)))
        for text, prompt in zip(texts, body.prompts, strict=True)
    ]
