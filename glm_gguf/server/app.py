"""The FastAPI app: its routes, its middleware, and its models."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from glm_gguf.errors import GlmGgufError
from glm_gguf.model import GLM
from glm_gguf.server.access.middleware import AccessMiddleware
from glm_gguf.server.access.origins import allow_cors
from glm_gguf.server.access.paths import LONGEST, PathMiddleware, head_paths, nearest_path, served_paths
from glm_gguf.server.anthropic_messages import routes as anthropic_messages
from glm_gguf.server.batches.routes import batches_router, files_router, no_batches_router
from glm_gguf.server.batches.runner import BatchRunner
from glm_gguf.server.batches.store import BatchStore
from glm_gguf.server.bodies.json_body import validation_problem
from glm_gguf.server.bodies.memory import BodyRefused
from glm_gguf.server.chat_completions import routes as chat_completions
from glm_gguf.server.completions import routes as completions
from glm_gguf.server.docs import routes as docs
from glm_gguf.server.embeddings import routes as embeddings
from glm_gguf.server.health import routes as health
from glm_gguf.server.in_process import InProcessClient
from glm_gguf.server.models import routes as models
from glm_gguf.server.ollama import embed as ollama_embed
from glm_gguf.server.ollama import management as ollama_management
from glm_gguf.server.ollama import model_routes as ollama_models
from glm_gguf.server.ollama import pull as ollama_pull
from glm_gguf.server.ollama import routes as ollama
from glm_gguf.server.page.answers import answers_router
from glm_gguf.server.page.kept_answers import KeptAnswers
from glm_gguf.server.page.research import research_router
from glm_gguf.server.page.routes import page_router
from glm_gguf.server.page.tools import tools_router
from glm_gguf.server.pool.catalogue import Catalogue, OneModel
from glm_gguf.server.problem import Problem, Refused, error_response, problem_of
from glm_gguf.server.responses import routes as responses
from glm_gguf.server.responses.kept_items import KeptItems
from glm_gguf.server.service import Service
from glm_gguf.server.settings import ServerSettings
from glm_gguf.server.streams.sse import ClientGone
from glm_gguf.server.tokens import routes as tokens

LOGGER = logging.getLogger(__name__)
ROUTERS = (
    chat_completions.router,
    completions.router,
    responses.router,
    anthropic_messages.router,
    ollama.router,
    ollama_embed.router,
    ollama_models.router,
    ollama_pull.router,
    ollama_management.router,
    embeddings.router,
    models.router,
    tokens.router,
    health.router,
    docs.router,
)


def create_app(settings: ServerSettings, open_model: Callable[[], GLM] | Catalogue) -> FastAPI:
    """Make the app. A thread calls `open_model` while the app starts; /health reports the state.

    It is called again for a model that fell asleep, or lost a worker: the server closes what it returned before.
    A Catalogue in its place has several models, which are loaded when requests name them.
    """
    service = Service(settings, OneModel(settings.model_name, open_model) if callable(open_model) else open_model)
    app = FastAPI(title="glm-gguf", lifespan=_lifespan, docs_url=None, redoc_url=None)
    app.state.service = service
    app.state.kept_answers = KeptAnswers(settings.limits)
    app.state.kept_items = KeptItems(settings.limits.kept_characters)
    routers = [*ROUTERS, page_router(), answers_router(app.state.kept_answers)]
    if settings.research is not None:
        routers.append(research_router(app.state.kept_answers))
    if (toolbox := settings.page_toolbox) is not None:
        routers.append(tools_router(toolbox))
    routers += _batch_routers(app, settings)
    for router in routers:
        app.include_router(router)
    routes = [*app.routes, *(route for router in routers for route in router.routes)]
    app.state.paths = served_paths(routes)
    for kind, respond in _HANDLERS.items():
        app.add_exception_handler(kind, respond)
    app.add_middleware(AccessMiddleware, service=service)
    app.add_middleware(PathMiddleware, paths=app.state.paths, heads=head_paths(routes))
    allow_cors(app, settings.origins)
    return app


def _batch_routers(app: FastAPI, settings: ServerSettings) -> list[APIRouter]:
    """Open the store of batches, and return its routes; without one they say how it is switched on."""
    app.state.batches = None
    if settings.batches is None:
        return [no_batches_router()]
    store = BatchStore(settings.batches)
    app.state.batches = BatchRunner(store, InProcessClient(app))
    return [files_router(store), batches_router(store, app.state.batches)]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the one model while the app already runs; free all models after the last response."""
    service: Service = app.state.service
    loading = asyncio.create_task(service.pool.start())
    runner: BatchRunner | None = app.state.batches
    answering = None if runner is None else asyncio.create_task(runner.run())
    try:
        yield
    finally:
        await loading
        if runner is not None and answering is not None:
            answering.cancel()
            await asyncio.wait([answering])
            runner.close()
        await app.state.kept_answers.close()
        await service.pool.stop()
        service.close()


async def _library_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GlmGgufError)
    problem = problem_of(error)
    if problem.status == 500:
        LOGGER.error("%s", error, exc_info=error.__cause__)
    return error_response(problem, request.url.path)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused | BodyRefused)
    return error_response(error.problem, request.url.path)


async def _invalid_body(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return error_response(validation_problem(error), request.url.path)


async def _unknown_route(request: Request, error: Exception) -> Response:
    """Answer a request for an unknown path or method."""
    assert isinstance(error, HTTPException)
    if isinstance(error, BodyRefused):
        return await _refused(request, error)
    message, code = f"{error.detail}: {request.method} {request.url.path[:LONGEST]}", None
    if error.status_code == 404:
        nearest, code = nearest_path(request.url.path, request.app.state.paths), "unknown_url"
        message += f". Did you mean {nearest}?" if nearest else ". /docs lists the paths that there are."
    elif allowed := (error.headers or {}).get("Allow"):
        message += f". Use {allowed}."
    problem = Problem(error.status_code, message, code=code)
    response = error_response(problem, request.url.path)
    response.headers.update(error.headers or {})
    return response


async def _disconnected(request: Request, error: Exception) -> Response:
    """Answer a client that disconnected; 499 is nginx's status for that."""
    return Response(status_code=499)


# Any other exception is a bug of the server; AccessMiddleware answers it.
_HANDLERS: dict[Any, Callable[[Request, Exception], Any]] = {
    GlmGgufError: _library_error,
    Refused: _refused,
    RequestValidationError: _invalid_body,
    HTTPException: _unknown_route,
    ClientGone: _disconnected,
}
