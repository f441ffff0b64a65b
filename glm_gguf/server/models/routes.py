"""GET /v1/models and /v1/models/{id}."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import APIRouter, Request, Response

from glm_gguf.server.bodies.wire import WireResponse
from glm_gguf.server.docs.openapi import OPENAI_LOOKUP_ERRORS
from glm_gguf.server.problem import Problem, Refused
from glm_gguf.server.service import Service
from glm_gguf.variant import Variant

router = APIRouter(tags=["OpenAI"])


class Model(WireResponse):
    """The server's model, in OpenAI's and Anthropic's form at once."""

    id: str
    object: Literal["model"]
    type: Literal["model"]
    display_name: str
    created: int
    created_at: str
    """The same in RFC 3339, as in Anthropic's API."""
    owned_by: str
    context_length: int
    """Maximum tokens of one conversation; not OpenAI's, but many clients read it."""
    variant: Variant
    """The model's variant, which decides whether it thinks; not OpenAI's either."""
    page_tools: list[dict[str, Any]] | None = None
    """Functions that the server runs for its own page (--tools)."""


class ModelList(WireResponse):
    """The list of models, with one entry."""

    object: Literal["list"]
    data: list[Model]
    has_more: Literal[False]
    first_id: str
    last_id: str


@router.get("/v1/models", summary="List models", response_model=ModelList, responses=OPENAI_LOOKUP_ERRORS)
async def list_models(request: Request) -> Response:
    """List the model."""
    model = _model(request.app.state.service)
    return ModelList(object="list", data=[model], has_more=False, first_id=model.id, last_id=model.id).response()


@router.get(
    "/v1/models/{model_id:path}", summary="Describe a model", response_model=Model, responses=OPENAI_LOOKUP_ERRORS
)
async def retrieve_model(model_id: str, request: Request) -> Response:
    """Describe the model."""
    model = _model(request.app.state.service)
    if model_id != model.id:
        raise Refused(Problem(404, f"There is no model {model_id[:100]!r}, only {model.id!r}.", code="model_not_found"))
    return model.response()


def _model(service: Service) -> Model:
    ready = service.ready
    tools = service.settings.tools
    offered: dict[str, Any] = {} if tools is None else {"page_tools": list(tools.declarations)}
    return Model(
        id=service.settings.model_name,
        object="model",
        type="model",
        display_name=service.settings.model_name,
        created=ready.since,
        created_at=datetime.fromtimestamp(ready.since, UTC).isoformat(),
        owned_by="glm-gguf",
        context_length=ready.glm.n_ctx,
        variant=ready.glm.variant,
        **offered,
    )
