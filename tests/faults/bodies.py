"""Targets for the server: bodies of all APIs, from their bytes to a prompt with its grammar, ready to be answered."""

from __future__ import annotations

import asyncio
import atexit
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from glm_gguf import GLM, EngineOptions
from glm_gguf.convert import ConvertOptions, TypeChoices, convert
from glm_gguf.errors import GlmGgufError
from glm_gguf.server.answer_request import AnswerRequest
from glm_gguf.server.anthropic_messages.request import CountRequest, MessageRequest
from glm_gguf.server.batches.settings import BatchSettings
from glm_gguf.server.batches.store import new_file
from glm_gguf.server.batches.upload import read_upload
from glm_gguf.server.bodies.ignored_fields import declared_fields
from glm_gguf.server.bodies.json_body import parsed, validation_problem
from glm_gguf.server.bodies.json_values import characters
from glm_gguf.server.bodies.known_fields import ignored_fields, refused_field
from glm_gguf.server.bodies.memory import BodyRefused
from glm_gguf.server.bodies.misplaced_fields import declared_objects, misplaced_field, unknown_keys
from glm_gguf.server.chat_completions.request import ChatCompletionRequest
from glm_gguf.server.completions.request import CompletionRequest, preparation
from glm_gguf.server.embeddings.request import EmbeddingRequest
from glm_gguf.server.limits import Limits
from glm_gguf.server.ollama.embed import OllamaEmbedRequest
from glm_gguf.server.ollama.request import OllamaChatRequest, OllamaGenerateRequest, OllamaRequest
from glm_gguf.server.problem import Problem, Refused, error_response, problem_of
from glm_gguf.server.responses.request import ResponseRequest
from glm_gguf.server.tokens.schemas import DetokenizeRequest, TemplateRequest, TokenizeRequest
from tests.faults.readers import scratch

LIMITS: Final = Limits(body_bytes=2**20, containers=20_000, characters=100_000)
MOST_CHARACTERS: Final = 5000
"""Of a response that refuses a request."""
CHECKPOINT: Final = Path(__file__).parents[2] / "glm_gguf" / "demo" / "checkpoint"

Use = Callable[[Any, GLM], object]


@cache
def tiny() -> GLM:
    """Return the tiny model, opened once in a process."""
    path = scratch() / "tiny.gguf"
    convert(CHECKPOINT, path, ConvertOptions(types=TypeChoices(type="Q8_0"), threads=1))
    glm = GLM(path, options=EngineOptions(threads=1, n_ctx=512, n_gpu_layers=0))
    atexit.register(glm.close)
    return glm


def chat(data: bytes) -> None:
    """/v1/chat/completions."""
    read(data, ChatCompletionRequest, "/v1/chat/completions", _asked)


def completions(data: bytes) -> None:
    """/v1/completions, /v1/embeddings, /tokenize, /detokenize and /apply-template."""
    read(data, CompletionRequest, "/v1/completions", _continued)
    for body in (EmbeddingRequest, TokenizeRequest, DetokenizeRequest, TemplateRequest):
        read(data, body, "/v1/embeddings")


def responses(data: bytes) -> None:
    """/v1/responses."""
    read(data, ResponseRequest, "/v1/responses", _asked)


def messages(data: bytes) -> None:
    """/v1/messages, and its count of tokens."""
    read(data, MessageRequest, "/v1/messages", _asked)
    read(data, CountRequest, "/v1/messages/count_tokens", _asked)


def ollama(data: bytes) -> None:
    """/api/chat, /api/generate and /api/embed."""
    read(data, OllamaChatRequest, "/api/chat", _asked_of_ollama)
    read(data, OllamaGenerateRequest, "/api/generate", _asked_of_ollama)
    read(data, OllamaEmbedRequest, "/api/embed")


def upload(data: bytes) -> None:
    """POST /v1/files: the Content-Type in the first line, and the form behind it."""
    kind, _, form = data.partition(b"\n")

    async def receive() -> Message:
        return {"type": "http.request", "body": form, "more_body": False}

    async def kept() -> None:
        scope = {"type": "http", "method": "POST", "headers": [(b"content-type", kind)], "app": None}
        request = Request(scope, receive)
        async with asyncio.timeout(60):
            found = await read_upload(request, BatchSettings(scratch(), file_bytes=2**16))
        new_file(found.filename, "batch", found.n_bytes, found.kept_seconds).model_dump_json()
        await request.close()

    with suppress(BodyRefused, Refused, HTTPException):
        asyncio.run(kept())


def read(data: bytes, body: type[BaseModel], path: str, use: Use | None = None) -> None:
    """Read a body as its route does; every refusal is a short response with a status that blames the client."""
    problem = _problem(data, body, use)
    if problem is not None:
        assert 400 <= problem.status < 500, problem
        assert characters([json.loads(bytes(error_response(problem, path).body))]) < MOST_CHARACTERS


def _problem(data: bytes, body: type[BaseModel], use: Use | None) -> Problem | None:
    """Return why a body is refused; None where it is answered."""
    value: Any = None
    try:
        value = parsed(data, LIMITS)
        if isinstance(value, dict):
            _look_over(value, body)
        made = body.model_validate(value)
        if use is not None:
            use(made, tiny())
    except ValidationError as error:
        places = [{**one, "loc": ("body", *one["loc"])} for one in error.errors()]
        return validation_problem(RequestValidationError(places, body=value))
    except (BodyRefused, Refused) as refused:
        return refused.problem
    except GlmGgufError as error:
        return problem_of(error)
    return None


def _look_over(value: dict[str, Any], body: type[BaseModel]) -> None:
    """Look for unknown, misspelled and misplaced fields."""
    declared, objects = declared_fields(body), declared_objects(body)
    refused_field(value, declared)
    misplaced_field(value, declared, objects)
    ignored_fields(value, declared)
    unknown_keys(value, objects)


def _asked(body: Any, glm: GLM) -> None:
    """Prepare the answer to a conversation."""
    request: AnswerRequest = body.to_request()
    request.require_modest(LIMITS)
    request.prepared(glm)


def _asked_of_ollama(body: OllamaRequest, glm: GLM) -> None:
    """Prepare the answer, unless the request only loads or frees the model."""
    if not (body.frees_model or body.loads_only):
        _asked(body, glm)


def _continued(body: CompletionRequest, glm: GLM) -> None:
    """Prepare the continuations of texts."""
    body.require_possible(LIMITS)
    sampling = replace(body.sampling_params(), thinking_budget=None)
    for prompt in body.prompts[:4]:
        preparation(prompt, sampling, body.options())(glm)
