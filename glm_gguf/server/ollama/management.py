"""Ollama's requests to make, copy, publish and delete models: a running server does none of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Request, Response

from glm_gguf.server.bodies.json_body import JsonRoute
from glm_gguf.server.docs.openapi import OLLAMA_ERRORS
from glm_gguf.server.problem import Problem, Refused

SERVE: Final = "run `glm-gguf serve FILE` there"
router = APIRouter(route_class=JsonRoute, tags=["Ollama"])


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
