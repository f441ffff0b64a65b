"""GET /api/version, /api/tags and /api/ps, POST /api/show."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from typing import Final

from fastapi import APIRouter, Request, Response

from glm_gguf.server.bodies.json_body import JsonRoute
from glm_gguf.server.bodies.wire import WireRequest, WireResponse
from glm_gguf.server.docs.openapi import OLLAMA_ERRORS, OLLAMA_LOOKUP_ERRORS, with_example
from glm_gguf.server.ollama.model_details import (
    LoadedModel,
    ModelDescription,
    ModelEntry,
    loaded_model,
    model_description,
    model_entry,
    tagged,
)
from glm_gguf.server.problem import Problem, Refused
from glm_gguf.server.service import Service

OLLAMA_VERSION: Final = "0.14.2"
"""The version of Ollama's API that this one follows. Programs compare it: VS Code asks for 0.6.4, others for more."""
router = APIRouter(route_class=JsonRoute, tags=["Ollama"])


class Version(WireResponse):
    """The version of Ollama's API, and the program that answers."""

    version: str
    server: str


class Models(WireResponse):
    """The list of models, with one entry."""

    models: list[ModelEntry]


class LoadedModels(WireResponse):
    """The list of loaded models, with one entry."""

    models: list[LoadedModel]


class ShowRequest(WireRequest):
    """A model to describe."""

    model_config = with_example(model="glm")

    model: str | None = None
    """Its name, with or without `:latest`."""
    name: str | None = None
    """The older name of `model`."""
    verbose: bool | None = None
    """Long arrays too, and the tensors."""


@router.head("/api/version", include_in_schema=False)
@router.get("/api/version", summary="Return the version (Ollama)", response_model=Version)
async def api_version(request: Request) -> Response:
    """Return the version of Ollama's API that the server follows."""
    return Version(version=OLLAMA_VERSION, server=f"glm-gguf {version('glm-gguf')}").response()


@router.head("/api/tags", include_in_schema=False)
@router.get("/api/tags", summary="List models (Ollama)", response_model=Models, responses=OLLAMA_LOOKUP_ERRORS)
async def tags(request: Request) -> Response:
    """List the model."""
    service: Service = request.app.state.service
    entry = partial(model_entry, service.settings.model_name, service.ready)
    return Models(models=[await service.prepared(request, entry)]).response()


@router.get(
    "/api/ps", summary="List loaded models (Ollama)", response_model=LoadedModels, responses=OLLAMA_LOOKUP_ERRORS
)
async def ps(request: Request) -> Response:
    """List the model with the memory that it takes."""
    service: Service = request.app.state.service
    entry = partial(loaded_model, service.settings.model_name, service.ready)
    return LoadedModels(models=[await service.prepared(request, entry)]).response()


@router.post("/api/show", summary="Describe a model (Ollama)", response_model=ModelDescription, responses=OLLAMA_ERRORS)
async def show(body: ShowRequest, request: Request) -> Response:
    """Describe the model: its file's keys, its template, its defaults."""
    service: Service = request.app.state.service
    known = require_known(service, body.model or body.name)
    described = partial(
        model_description, known, service.ready, service.settings.sampling, verbose=body.verbose is True
    )
    return await service.prepared(request, lambda: described().response())


def require_known(service: Service, name: str | None) -> str:
    """Return the model's name; Refused for a request without a name, or with another (404)."""
    known = service.settings.model_name
    if not name:
        raise Refused(Problem(400, "model: give a model's name; /api/tags lists them.", param="model"))
    if tagged(name) != tagged(known):
        raise Refused(
            Problem(404, f"model {name[:100]!r} not found; there is {tagged(known)!r}.", code="model_not_found")
        )
    return known
