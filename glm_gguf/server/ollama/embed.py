"""POST /api/embed, and /api/embeddings, the older one."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from fastapi import APIRouter, Request, Response

from glm_gguf.engine.embedding import Vector
from glm_gguf.errors import RequestError
from glm_gguf.model import GLM
from glm_gguf.server.bodies.json_body import JsonRoute
from glm_gguf.server.bodies.wire import Many, Whole, WireResponse
from glm_gguf.server.docs.openapi import OLLAMA_ERRORS, with_example
from glm_gguf.server.embeddings.dimensions import refuse_to_cut
from glm_gguf.server.ollama.options import OllamaOptions
from glm_gguf.server.ollama.requested_model import ModelRequest, requested_model
from glm_gguf.server.ollama.response import nanoseconds
from glm_gguf.server.problem import Problem, Refused
from glm_gguf.server.service import Service
from glm_gguf.server.streams.sse import unless_gone

router = APIRouter(route_class=JsonRoute, tags=["Ollama"])


class OllamaVectorRequest(ModelRequest):
    """What both requests share."""

    options: OllamaOptions | None = None
    """None has an effect on vectors; the header names those that are given."""

    def unmet(self, glm: GLM) -> list[str]:
        """Return the fields without effect."""
        options = self.options or OllamaOptions()
        given = [f"options.{name}" for name in options.model_dump(exclude_none=True) if name != "num_ctx"]
        return [*given, *super().unmet(glm)]


class OllamaEmbedRequest(OllamaVectorRequest):
    """Texts to embed; without any, only the model is loaded."""

    model_config = with_example(model="glm", input=["one text", "another"])

    input: str | Many[str] | None = None
    """One text or several."""
    truncate: bool | None = None
    """A text that is too long is cut, which is the default; false: it is refused."""
    dimensions: Whole | None = None
    """Only the dimension of the model's vectors: they cannot be cut."""

    @property
    def inputs(self) -> list[str]:
        """The texts."""
        return ([self.input] if self.input else []) if isinstance(self.input, str) else self.input or []


class OllamaEmbeddingsRequest(OllamaVectorRequest):
    """A text to embed; without it, only the model is loaded."""

    model_config = with_example(model="glm", prompt="one text")

    prompt: str | None = None
    """The text."""


class OllamaVectors(WireResponse):
    """One vector a text; times in nanoseconds, and the tokens of all texts."""

    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


class OllamaVector(WireResponse):
    """The vector of a text."""

    embedding: list[float]


@router.post("/api/embed", summary="Embed texts (Ollama)", response_model=OllamaVectors, responses=OLLAMA_ERRORS)
async def embed(body: OllamaEmbedRequest, request: Request) -> Response:
    """Turn texts into vectors of length 1: the mean of the model's final hidden states."""
    service: Service = request.app.state.service
    arrived, most = perf_counter(), service.settings.limits.inputs
    if len(body.inputs) > most:
        raise Refused(Problem(400, f"input: {len(body.inputs)} texts; give up to {most}.", param="input"))
    model = await requested_model(service, request, body)
    loaded = perf_counter()
    tokens = await _tokens(service, request, model.glm, body.inputs, cut=body.truncate is not False)
    vectors = await _vectors(request, model.glm, tokens, "input")
    refuse_to_cut(vectors, body.dimensions)
    return OllamaVectors(
        model=model.name,
        embeddings=[vector.tolist() for vector in vectors],
        total_duration=nanoseconds(perf_counter() - arrived),
        load_duration=nanoseconds(loaded - arrived),
        prompt_eval_count=sum(map(len, tokens)),
    ).response()


@router.post(
    "/api/embeddings",
    summary="Embed a text (Ollama's older form)",
    response_model=OllamaVector,
    responses=OLLAMA_ERRORS,
)
async def embeddings(body: OllamaEmbeddingsRequest, request: Request) -> Response:
    """Turn a text into a vector of length 1, as `/api/embed` does."""
    service: Service = request.app.state.service
    glm = (await requested_model(service, request, body)).glm
    tokens = await _tokens(service, request, glm, [body.prompt] if body.prompt else [], cut=True)
    vectors = await _vectors(request, glm, tokens, "prompt")
    return OllamaVector(embedding=vectors[0].tolist() if vectors else []).response()


async def _tokens(service: Service, request: Request, glm: GLM, texts: Sequence[str], *, cut: bool) -> list[list[int]]:
    """Return the token ids of texts, cut to the context if asked for."""
    most = glm.n_ctx - 1 if cut else None  # the engine takes no text that fills the context
    return await service.prepared(request, lambda: [glm.tokenize(text)[:most] for text in texts])


async def _vectors(request: Request, glm: GLM, tokens: Sequence[list[int]], field: str) -> list[Vector]:
    """Embed texts one after another; an error names the request's field."""

    async def embedded() -> list[Vector]:
        return [await glm.aembed(ids) for ids in tokens]

    try:
        return await unless_gone(request.receive, embedded())
    except RequestError as error:
        raise type(error)(error.what, field=field, fix=error.fix) from error
