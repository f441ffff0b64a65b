"""POST /v1/embeddings."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request, Response

from glm_gguf.engine.embedding import Vector
from glm_gguf.errors import RequestError
from glm_gguf.model import GLM
from glm_gguf.server.bodies.json_body import JsonRoute
from glm_gguf.server.docs.openapi import OPENAI_ERRORS
from glm_gguf.server.embeddings.dimensions import refuse_to_cut
from glm_gguf.server.embeddings.request import EmbeddingRequest
from glm_gguf.server.embeddings.response import EmbeddingList, embedding_list
from glm_gguf.server.service import Service
from glm_gguf.server.streams.sse import unless_gone

router = APIRouter(route_class=JsonRoute, tags=["OpenAI"])


@router.post("/v1/embeddings", summary="Embed texts", response_model=EmbeddingList, responses=OPENAI_ERRORS)
async def create(body: EmbeddingRequest, request: Request) -> Response:
    """Turn texts into vectors of length 1: the mean of the model's final hidden states."""
    service: Service = request.app.state.service
    inputs = body.inputs(service.settings.limits)
    model = await service.model(request, body.model)
    glm = model.glm
    tokens = await service.prepared(request, partial(_tokens, glm, inputs))
    vectors = await unless_gone(request.receive, _embedded(glm, tokens))
    refuse_to_cut(vectors, body.dimensions)
    count = sum(map(len, tokens))
    wanted = body.encoding_format == "base64"
    return embedding_list(vectors, model.name, count, base64_wanted=wanted).response()


def _tokens(glm: GLM, inputs: list[str | list[int]]) -> list[list[int]]:
    return [glm.tokenize(text) if isinstance(text, str) else text for text in inputs]


async def _embedded(glm: GLM, tokens: list[list[int]]) -> list[Vector]:
    """Embed texts one after another, so that several requests take turns."""
    try:
        return [await glm.aembed(ids) for ids in tokens]
    except RequestError as error:
        raise type(error)(error.what, field="input", fix=error.fix) from error
