"""GET /v1/models and /v1/models/{id}."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import APIRouter, Request, Response

from glm_gguf.server.bodies.wire import WireResponse
from glm_gguf.server.docs.openapi import OPENAI_LOOKUP_ERRORS
from glm_gguf.server.pool.pooled_model import PooledModel, StateName
from glm_gguf.server.problem import Refused, unknown_model
from glm_gguf.server.service import Service
from glm_gguf.variant import Variant

router = APIRouter(tags=["OpenAI"])


class PageServer(WireResponse):
    """An MCP server that runs beside this one, for the page."""

    name: str
    tools: list[dict[str, Any]]


class Model(WireResponse):
    """A model of the server, in OpenAI's and Anthropic's form at once."""

    id: str
    object: Literal["model"]
    type: Literal["model"]
    display_name: str
    created: int
    created_at: str
    """The same in RFC 3339, as in Anthropic's API."""
    owned_by: str
    context_length: int | None = None
    """Maximum tokens of one conversation; not OpenAI's, but many clients read it. Only of a model that was loaded."""
    variant: Variant | None = None
    """The model's variant, which decides whether it thinks; not OpenAI's either. Only of a model that was loaded."""
    state: StateName
    """asleep, loading, ready, degraded or failed; a request loads a model that is asleep."""
    page_tools: list[dict[str, Any]] | None = None
    """Functions that the server runs for its own page (--tools)."""
    page_servers: list[PageServer] | None = None
    """MCP servers whose tools the page may switch on (--mcp)."""
    page_research: bool | None = None
    """The page may have questions researched (--research-sources)."""


class ModelList(WireResponse):
    """The list of models."""

    object: Literal["list"]
    data: list[Model]
    has_more: Literal[False]
    first_id: str | None
    last_id: str | None


@router.get("/v1/models", summary="List models", response_model=ModelList, responses=OPENAI_LOOKUP_ERRORS)
async def list_models(request: Request) -> Response:
    """List the models."""
    service: Service = request.app.state.service
    service.pool.require_started()
    models = [_model(service, model) for model in service.pool.models()]
    first, last = (models[0].id, models[-1].id) if models else (None, None)
    return ModelList(object="list", data=models, has_more=False, first_id=first, last_id=last).response()


@router.get(
    "/v1/models/{model_id:path}", summary="Describe a model", response_model=Model, responses=OPENAI_LOOKUP_ERRORS
)
async def retrieve_model(model_id: str, request: Request) -> Response:
    """Describe a model."""
    service: Service = request.app.state.service
    service.pool.require_started()
    found = next((model for model in service.pool.models() if model.name == model_id), None)
    if found is None:
        raise Refused(unknown_model(model_id, service.pool.catalogue.names()))
    return _model(service, found).response()


def _model(service: Service, model: PooledModel) -> Model:
    """Describe a model: what only its file tells, as far as it was loaded."""
    tools, servers, known = service.settings.tools, service.settings.servers, model.description
    told: dict[str, Any] = {} if tools is None else {"page_tools": list(tools.declarations)}
    if servers:
        told["page_servers"] = [PageServer(name=name, tools=list(box.declarations)) for name, box in servers.items()]
    if service.settings.research is not None:
        told["page_research"] = True
    if known is not None:
        told |= {"context_length": known.n_ctx, "variant": known.variant}
    since = known.since if known is not None else service.pool.since
    return Model(
        id=model.name,
        object="model",
        type="model",
        display_name=model.name,
        created=since,
        created_at=datetime.fromtimestamp(since, UTC).isoformat(),
        owned_by="glm-gguf",
        state=model.state_name,
        **told,
    )
