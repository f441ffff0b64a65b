"""GET /health reports the state of the models, GET /metrics its counts and times."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from glm_gguf.server.access.middleware import has_key
from glm_gguf.server.bodies.wire import WireResponse
from glm_gguf.server.metrics import CONTENT_TYPE
from glm_gguf.server.pool.pooled_model import StateName
from glm_gguf.server.service import Service

router = APIRouter(tags=["server"])


class Health(WireResponse):
    """`loading`, `ready`, `asleep` or `ending`; `degraded`: a worker was lost, and the model is loaded again when it
    answers; or `failed`: the model could not be loaded, or its engine failed."""

    status: str
    models: dict[str, StateName] | None = None
    """State of each model where requests choose among several, for requests with a key where one is needed."""


@router.get(
    "/health", summary="Report the state of the models", response_model=Health, responses={503: {"model": Health}}
)
async def health(request: Request) -> Response:
    """Answer 200 if the model is ready or asleep, or if there are several; else 503."""
    service: Service = request.app.state.service
    health, pool = Health(status=service.status), service.pool
    if pool.catalogue.only is None and has_key(request.headers, service.settings.api_keys):
        health.models = {model.name: model.state_name for model in pool.models()}
    response = health.response()
    response.status_code = 200 if service.status in ("ready", "asleep") else 503
    return response


@router.get(
    "/metrics",
    summary="Return metrics (Prometheus)",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """Return counts and times in Prometheus' text format."""
    service: Service = request.app.state.service
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)
