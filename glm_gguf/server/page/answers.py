"""/page-answers/{id}: chat completions of the page, which go on while it is reloaded."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response

from glm_gguf.server.access.origins import is_allowed_origin
from glm_gguf.server.bodies.json_body import JsonRoute
from glm_gguf.server.chat_completions.request import ChatCompletionRequest
from glm_gguf.server.chat_completions.routes import begin_stream
from glm_gguf.server.page.kept_answers import KeptAnswer, KeptAnswers
from glm_gguf.server.problem import Problem, Refused
from glm_gguf.server.service import HELD, Service

IDENTIFIER: Final = r"^[0-9a-f]{32}$"
"""128 random bits that the page made."""
Identifier = Annotated[str, Path(pattern=IDENTIFIER)]
GONE: Final = Problem(404, "There is no such answer: it was stopped, or nobody read it for long.", code="answer_gone")
PAGE_ONLY: Final = Problem(403, "Only this server's own page may keep answers.", code="page_only")


def answers_router(kept: KeptAnswers) -> APIRouter:
    """Return the routes, for the server's own page only; AccessMiddleware checked host and key."""
    router = APIRouter(route_class=JsonRoute, include_in_schema=False)

    @router.post("/page-answers/{identifier}")
    async def begin(identifier: Identifier, body: ChatCompletionRequest, request: Request) -> Response:
        return await begin_kept(kept, identifier, request, lambda: begin_stream(body, request))

    @router.get("/page-answers/{identifier}")
    async def resume(identifier: Identifier, request: Request) -> Response:
        _require_page(request)
        answer = kept.get(identifier)
        if answer is None:
            raise Refused(GONE)
        return _stream(kept, identifier, request, answer)

    @router.delete("/page-answers/{identifier}")
    async def stop(identifier: Identifier, request: Request) -> Response:
        _require_page(request)
        kept.stop(identifier)
        return Response(status_code=204)

    return router


async def begin_kept(
    kept: KeptAnswers, identifier: str, request: Request, begin: Callable[[], Awaitable[AsyncGenerator[bytes, None]]]
) -> Response:
    """Begin an answer that goes on while the page is reloaded; every refusal happens here."""
    _require_page(request)
    kept.require_room(identifier)
    pieces = await begin()
    kept.require_room(identifier)  # others have begun meanwhile
    answer = kept.add(identifier, pieces, request.scope[HELD].pop_all())
    return _stream(kept, identifier, request, answer)


def _stream(kept: KeptAnswers, identifier: str, request: Request, answer: KeptAnswer) -> Response:
    service: Service = request.app.state.service
    return service.sse_response(kept.read(identifier, answer))


def _require_page(request: Request) -> None:
    if not is_allowed_origin(request.headers, request.scope["scheme"], ()):
        raise Refused(PAGE_ONLY)
