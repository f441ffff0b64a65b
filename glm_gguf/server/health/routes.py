"""GET /health, whether the model answers, and GET /metrics, what it did."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from glm_gguf.server.bodies.wire import WireResponse
from glm_gguf.server.metrics import CONTENT_TYPE
from glm_gguf.server.service import Service

router = APIRouter(tags=["server"])


class Health(WireResponse):
    """`loading`, `ready`, `ending`, or `failed`: it could not be loaded, or ended by an error of its own."""

    status: str


@router.get(
    "/health", summary="Tell whether the model answers", response_model=Health, responses={503: {"model": Health}}
)
async def health(request: Request) -> Response:
    """Answer 200 where the model answers, else 503."""
    service: Service = request.app.state.service
    response = Health(status=service.status).response()
    response.status_code = 200 if service.status == "ready" else 503
    return response


@router.get(
    "/metrics",
    summary="Count (Prometheus)",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """Tell counts and times in Prometheus' text form."""
    service: Service = request.app.state.service
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)
