"""GET /health reports the state of the model, GET /metrics its counts and times."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from glm_gguf.server.bodies.wire import WireResponse
from glm_gguf.server.metrics import CONTENT_TYPE
from glm_gguf.server.service import Service

router = APIRouter(tags=["server"])


class Health(WireResponse):
    """`loading`, `ready`, `ending`, or `failed`: the model could not be loaded, or its engine failed."""

    status: str


@router.get(
    "/health", summary="Report the state of the model", response_model=Health, responses={503: {"model": Health}}
)
async def health(request: Request) -> Response:
    """Answer 200 if the model is ready, else 503."""
    service: Service = request.app.state.service
    response = Health(status=service.status).response()
    response.status_code = 200 if service.status == "ready" else 503
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
