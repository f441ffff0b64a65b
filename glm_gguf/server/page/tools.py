"""POST /page-tools runs a function of --tools or a tool of --mcp for the page, which passes the result to the model."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from glm_gguf.chat.events import ToolCall
from glm_gguf.chat.tools import Toolbox
from glm_gguf.run_options import RunOptions
from glm_gguf.server.access.origins import is_allowed_origin
from glm_gguf.server.bodies.json_body import JsonRoute
from glm_gguf.server.bodies.wire import WireRequest, WireResponse
from glm_gguf.server.problem import Problem, Refused
from glm_gguf.tool_calls import arun_calls


class CallRequest(WireRequest):
    """A call of the model."""

    name: str
    arguments: str
    """JSON text of an object."""


class PageCallResult(WireResponse):
    """The observation's text; an error is a text for the model too."""

    content: str


def tools_router(toolbox: Toolbox) -> APIRouter:
    """Return the route that runs functions, for the server's own page only; AccessMiddleware checked host and key."""
    router = APIRouter(route_class=JsonRoute, include_in_schema=False)

    @router.post("/page-tools")
    async def call(body: CallRequest, request: Request) -> Response:
        if "origin" not in request.headers or not is_allowed_origin(request.headers, request.scope["scheme"], ()):
            raise Refused(Problem(403, "Only this server's own page may run its functions.", code="page_only"))
        (content,) = await arun_calls([ToolCall(body.name, body.arguments)], toolbox, RunOptions())
        return PageCallResult(content=content).response()

    return router
