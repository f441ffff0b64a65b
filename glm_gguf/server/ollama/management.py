"""Ollama's requests to fetch, make, copy, publish and delete models: a running server does none of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from fastapi import APIRouter, Request, Response

from glm_gguf.server.bodies.json_body import JsonRoute
from glm_gguf.server.bodies.wire import WireRequest, WireResponse
from glm_gguf.server.docs.openapi import OLLAMA_ERRORS, line_response, with_example
from glm_gguf.server.ollama.model_routes import found_model
from glm_gguf.server.problem import Problem, Refused
from glm_gguf.server.service import Service

SERVE: Final = "run `glm-gguf serve FILE` there"
router = APIRouter(route_class=JsonRoute, tags=["Ollama"])


class PullRequest(WireRequest):
    """A model that should be there."""

    model_config = with_example(model="glm", stream=False)

    model: str | None = None
    """The model's name."""
    name: str | None = None
    """The older name of `model`."""
    stream: bool | None = None
    """false: one object with `Content-Type: application/json`; else one line."""
    insecure: bool | None = None
    """Nothing is fetched, so it changes nothing."""


class PullStatus(WireResponse):
    """The model is there."""

    status: Literal["success"]


@router.post(
    "/api/pull",
    summary="Fetch a model (Ollama)",
    response_model=PullStatus,
    responses=OLLAMA_ERRORS | line_response('{"status": "success"}\n'),
)
async def pull(body: PullRequest, request: Request) -> Response:
    """Succeed for a model that is there; refuse any other, since the server fetches none."""
    service: Service = request.app.state.service
    name = body.model or body.name or ""
    if found_model(service, name) is None:
        serve = "" if service.pool.catalogue.only is None else ", and `glm-gguf serve` with its name"
        what = f"the server fetches no models, and has no {name[:100]!r}; run `glm-gguf pull` on its machine{serve}"
        raise Refused(Problem(400, f"{what}.", param="model", as_sent=True))
    status = PullStatus(status="success")
    if body.stream is False:
        return status.response()
    return Response(f"{status.as_json()}\n", media_type="application/x-ndjson")


@dataclass(frozen=True, slots=True)
class RefusedRoute:
    """A request that the server refuses."""

    method: str
    path: str
    summary: str
    why: str
    """Why it is refused, and what to do instead."""

    async def refuse(self, request: Request) -> Response:
        """Refuse, and say what to do instead."""
        raise Refused(Problem(400, f"{self.why}."))


_CONVERT: Final = f"the server makes no models; convert one by `glm-gguf convert` on its machine, and {SERVE}"
_COPY: Final = "the server copies no models; for another name start it with `--alias NAME`"
_UPLOAD: Final = "the server publishes no models; upload the file to a hub"
_DELETE: Final = "the server deletes no models; run `glm-gguf rm` on its machine"
_SCORE: Final = "the model answers no such questions; send them to /api/chat, with a schema as `format`"
REFUSED: Final = (
    RefusedRoute("POST", "/api/create", "Make a model (Ollama)", _CONVERT),
    RefusedRoute("POST", "/api/copy", "Copy a model (Ollama)", _COPY),
    RefusedRoute("POST", "/api/push", "Publish a model (Ollama)", _UPLOAD),
    RefusedRoute("DELETE", "/api/delete", "Delete a model (Ollama)", _DELETE),
    RefusedRoute("POST", "/v1/systemone", "Score questions (Ollama)", _SCORE),
)
for _route in REFUSED:
    router.add_api_route(
        _route.path, _route.refuse, methods=[_route.method], summary=_route.summary, responses=OLLAMA_ERRORS
    )


@router.head("/api/blobs/{digest}", include_in_schema=False)
async def has_blob(digest: str) -> Response:
    """Say that a file was not uploaded."""
    return Response(status_code=404)


@router.post("/api/blobs/{digest}", summary="Upload a file (Ollama)", responses=OLLAMA_ERRORS)
async def take_blob(digest: str) -> Response:
    """Refuse a file, and say what to do instead."""
    raise Refused(Problem(400, f"the server takes no files; put the file on its machine, and {SERVE}."))
