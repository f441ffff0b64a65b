"""GET /api/version, /api/tags and /api/ps, POST /api/show."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response

from glm_gguf.errors import GlmGgufError
from glm_gguf.server.bodies.json_body import JsonRoute
from glm_gguf.server.bodies.wire import WireRequest, WireResponse
from glm_gguf.server.docs.openapi import OLLAMA_ERRORS, OLLAMA_LOOKUP_ERRORS, with_example
from glm_gguf.server.ollama.model_details import (
    DescribedModel,
    ModelDescription,
    ModelEntry,
    RunningModel,
    model_entry,
    running_model,
    untagged,
)
from glm_gguf.server.pool.file_facts import FileFacts, read_facts, read_report
from glm_gguf.server.pool.pooled_model import PooledModel
from glm_gguf.server.problem import Problem, Refused, unknown_model
from glm_gguf.server.service import Service

LOGGER = logging.getLogger(__name__)
OLLAMA_VERSION: Final = "0.14.2"
"""The version of Ollama's API that this one follows. Programs compare it: VS Code asks for 0.6.4, others for more."""
router = APIRouter(route_class=JsonRoute, tags=["Ollama"])


class Version(WireResponse):
    """The version of Ollama's API, and the program that answers."""

    version: str
    server: str


class Models(WireResponse):
    """The list of models."""

    models: list[ModelEntry]


class RunningModels(WireResponse):
    """The list of loaded models."""

    models: list[RunningModel]


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
    """List the models, without any whose file cannot be read."""
    service: Service = request.app.state.service
    service.pool.require_started()
    models, paths = service.pool.models(), service.pool.catalogue.path
    return Models(models=await service.prepared(request, lambda: list(_entries(models, paths)))).response()


@router.get(
    "/api/ps", summary="List loaded models (Ollama)", response_model=RunningModels, responses=OLLAMA_LOOKUP_ERRORS
)
async def ps(request: Request) -> Response:
    """List the loaded models with the memory that each takes."""
    service: Service = request.app.state.service
    service.pool.require_started()
    running = ((model, model.loaded) for model in service.pool.models())
    return RunningModels(
        models=[running_model(model, loaded) for model, loaded in running if loaded is not None]
    ).response()


@router.post("/api/show", summary="Describe a model (Ollama)", response_model=ModelDescription, responses=OLLAMA_ERRORS)
async def show(body: ShowRequest, request: Request) -> Response:
    """Describe a model: its file's keys, its template, its defaults."""
    service: Service = request.app.state.service
    service.pool.require_started()
    known = known_model(service, body.model or body.name)
    path, loaded = service.pool.catalogue.path(known.name), known.loaded
    if loaded is None and path is None:
        loaded = await service.model(request, known.name)

    def described() -> Response:
        glm = None if loaded is None else loaded.glm
        report = glm.report if glm is not None else read_report(path) if path is not None else None
        assert report is not None
        facts = FileFacts.of(report) if loaded is None else loaded.facts
        model = DescribedModel(known.name, facts, report, None if glm is None else glm.n_ctx)
        return model.described(service.settings.sampling, verbose=body.verbose is True).response()

    return await service.prepared(request, described)


def known_model(service: Service, name: str | None) -> PooledModel:
    """Return the model of a name; Refused for a request without a name, or with that of no model (404)."""
    if not name:
        raise Refused(Problem(400, "model: give a model's name; /api/tags lists them.", param="model"))
    found = found_model(service, name)
    if found is None:
        raise Refused(unknown_model(name, service.pool.catalogue.names()))
    return found


def found_model(service: Service, name: str | None) -> PooledModel | None:
    """Return the model of a name; None if there is none, also where the one model answers to any."""
    plain, catalogue = untagged(name), service.pool.catalogue
    if plain is None or catalogue.only not in (None, plain):
        return None
    found = catalogue.find(plain)
    return None if found is None else service.pool.chosen(found)


def _entries(models: Sequence[PooledModel], path_of: Callable[[str], Path | None]) -> Iterator[ModelEntry]:
    """Return the entries of models; of one that was never loaded its file tells."""
    for model in models:
        if model.description is not None:
            yield model_entry(model.name, model.description.facts)
            continue
        try:
            path = path_of(model.name)
            if path is not None:
                yield model_entry(model.name, read_facts(path))
        except GlmGgufError as error:
            LOGGER.warning("left out of the list of models: %s", error)
