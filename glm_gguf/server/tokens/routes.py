"""POST /tokenize, /detokenize and /apply-template."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request, Response

from glm_gguf.answers.answer_options import AnswerOptions
from glm_gguf.model import GLM
from glm_gguf.server.answer_request import AnswerRequest, require_short_prompt
from glm_gguf.server.bodies.json_body import JsonRoute
from glm_gguf.server.bodies.misplaced_fields import require_spelled_messages
from glm_gguf.server.chat_completions.legacy import modern_messages
from glm_gguf.server.chat_completions.service_tools import functions_of
from glm_gguf.server.docs.openapi import OPENAI_ERRORS
from glm_gguf.server.problem import Problem, Refused
from glm_gguf.server.service import Service
from glm_gguf.server.tokens.schemas import (
    DetokenizedText,
    DetokenizeRequest,
    Piece,
    RenderedPrompt,
    TemplateRequest,
    TokenizedText,
    TokenizeRequest,
)

router = APIRouter(route_class=JsonRoute, tags=["tokens"])


@router.post("/tokenize", summary="Turn text into tokens", response_model=TokenizedText, responses=OPENAI_ERRORS)
async def tokenize(body: TokenizeRequest, request: Request) -> Response:
    """Turn a text, or the prompt of a conversation, into token ids."""
    service: Service = request.app.state.service
    text = body.content if body.content is not None else body.prompt
    if (text is None) == (body.messages is None):
        raise Refused(Problem(400, "Give either `content` or `messages`.", param="content"))
    glm = (await service.model(request, body.model)).glm
    if text is not None:
        require_short_prompt([text], "content", service.settings.limits)
        tokenized = partial(glm.tokenize, text)
    else:
        tokenized = partial(_prompt_ids, glm, _answer_request(service, body))
    return await service.prepared(request, lambda: _tokens(tokenized(), glm, body))


@router.post("/detokenize", summary="Turn tokens into text", response_model=DetokenizedText, responses=OPENAI_ERRORS)
async def detokenize(body: DetokenizeRequest, request: Request) -> Response:
    """Turn token ids into their text."""
    service: Service = request.app.state.service
    model = await service.model(request, body.model)
    text = await service.prepared(request, partial(model.glm.detokenize, body.tokens))
    return DetokenizedText(content=text, prompt=text).response()


@router.post("/apply-template", summary="Render a conversation", response_model=RenderedPrompt, responses=OPENAI_ERRORS)
async def apply_template(body: TemplateRequest, request: Request) -> Response:
    """Render a conversation into the prompt's text."""
    service: Service = request.app.state.service
    conversation = _answer_request(service, body)
    model = await service.model(request, body.model)
    text = await service.prepared(request, partial(_prompt_text, model.glm, conversation))
    return RenderedPrompt(prompt=text).response()


def _tokens(ids: list[int], glm: GLM, body: TokenizeRequest) -> Response:
    made = TokenizedText(tokens=ids, count=len(ids), max_model_len=glm.n_ctx)
    if body.with_pieces:
        made.tokens = [Piece(id=index, piece=_piece(glm, index)) for index in ids]
    if body.return_token_strs:
        made.token_strs = [glm.detokenize([index]) for index in ids]
    return made.response()


def _piece(glm: GLM, token_id: int) -> str | list[int]:
    """Return a token's text, or its bytes, as llama.cpp's server does."""
    spelled = glm.token_bytes(token_id)
    try:
        return spelled.decode()
    except UnicodeDecodeError:
        return list(spelled)


def _answer_request(service: Service, body: TokenizeRequest | TemplateRequest) -> AnswerRequest:
    require_spelled_messages(body.messages or ())
    options: AnswerOptions = {"variables": body.chat_template_kwargs or {}, "continue_final_message": body.continues}
    conversation = AnswerRequest(modern_messages(body.messages or []), functions_of(body.tools), options=options)
    conversation.require_modest(service.settings.limits)
    return conversation


def _prompt_ids(glm: GLM, conversation: AnswerRequest) -> list[int]:
    return glm.prompt_ids(conversation.messages, conversation.tools, **conversation.prompt_options(glm))


def _prompt_text(glm: GLM, conversation: AnswerRequest) -> str:
    return glm.apply_template(conversation.messages, conversation.tools, **conversation.prompt_options(glm))
