"""The other end of the wire, played from a script: what a test wrote down goes out as server-sent events.

It stands in for models that think, misbehave or break off as the bundled one never would; the page cannot tell.
"""

from __future__ import annotations

import asyncio
import json
import queue
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from glm_gguf import GLM
from glm_gguf.server.app import create_app
from glm_gguf.server.page.routes import page_router
from glm_gguf.server.settings import ServerSettings

MODEL = {"id": "scripted", "object": "model", "created": 0, "owned_by": "test", "context_length": 1000, "variant": "Z1"}
END = None
BREAK = "break off"
SECONDS = 20
"""How long either side waits for the other before the test has failed."""


class Answer:
    """One answer that a test writes piece by piece."""

    def __init__(self) -> None:
        self._pieces: deque[str | None] = deque()
        self._wake: Callable[[], object] = lambda: None
        self.ended: queue.Queue[str] = queue.Queue()
        """How the server's side of it ended: `sent` or `left`."""

    def say(self, **delta: Any) -> Answer:
        """Send a delta: content, reasoning_content or tool_calls."""
        return self.send({"choices": [{"index": 0, "delta": delta, "finish_reason": None}], "usage": None})

    def call(self, index: int, name: str, arguments: str) -> Answer:
        """Send a call as the server does: its name first, then its arguments."""
        self.say(tool_calls=[{"index": index, "id": f"call_{index}", "type": "function", "function": {"name": name}}])
        return self.say(tool_calls=[{"index": index, "function": {"arguments": arguments}}])

    def finish(self, reason: str = "stop", prompt: int = 100, completion: int = 50) -> Answer:
        """Send the end, and what was counted."""
        self.send({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": None})
        self.send({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}})
        self._put("data: [DONE]\n\n")
        self._put(END)
        return self

    def send(self, chunk: dict[str, Any]) -> Answer:
        """Send a chunk as it is, behind a comment such as keep streams alive."""
        self._put(f": keep-alive\n\ndata: {json.dumps(chunk)}\n\n")
        return self

    async def written(self) -> AsyncIterator[str]:
        """Yield what the test's thread has written and will write, in the server's event loop."""
        loop, more = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(more.set)
        while True:
            more.clear()
            while self._pieces:
                if (piece := self._pieces.popleft()) is END:
                    return
                yield piece
            await more.wait()

    def break_off(self) -> None:
        """Close the connection in the middle."""
        self._put(BREAK)

    def _put(self, piece: str | None) -> None:
        self._pieces.append(piece)
        self._wake()


class Wire:
    """What a server answers, as a test writes it, and what it was asked."""

    def __init__(self) -> None:
        self.asked: queue.Queue[dict[str, Any]] = queue.Queue()
        self.routes: list[str] = []
        """Where it was asked."""
        self.headers: list[dict[str, str]] = []
        self.model_refusal: Response | None = None
        """What /v1/models says in place of the model."""
        self.listed = [MODEL]
        """What /v1/models says."""
        self.picked_up: list[str] = []
        """Identifiers of the answers that a page asked for again."""
        self.stopped: list[str] = []
        """Identifiers of those that it stopped."""
        self.tools: list[dict[str, Any]] = []
        """Declarations of the functions that the server runs."""
        self.servers: list[dict[str, Any]] = []
        """MCP servers that the server runs."""
        self.researches = False
        """Whether the server researches questions."""
        self.called: list[dict[str, str]] = []
        self.results: queue.Queue[Response] = queue.Queue()
        """What /page-tools answers to one call after another."""
        self._answers: queue.Queue[Answer | Response] = queue.Queue()

    def answer(self) -> Answer:
        """Begin the answer to a request that is still to come."""
        answer = Answer()
        self._answers.put(answer)
        return answer

    def refuse(self, status: int, message: str, code: str | None = None, **headers: str) -> None:
        """Refuse the next request."""
        self._answers.put(refusal(status, message, code, **headers))

    def request(self) -> dict[str, Any]:
        """The body of the oldest request that has not been looked at."""
        return self.asked.get(timeout=SECONDS)

    async def models(self, request: Request) -> Response:
        self.headers.append(dict(request.headers))
        own = {"page_tools": self.tools, "page_servers": self.servers, "page_research": self.researches}
        models = [{**model, **own} for model in self.listed]
        return self.model_refusal or JSONResponse({"object": "list", "data": models})

    async def completions(self, identifier: str, request: Request) -> Response:
        self.headers.append(dict(request.headers))
        if request.method == "DELETE":
            self.stopped.append(identifier)
            return Response(status_code=204)
        if request.method == "GET":
            self.picked_up.append(identifier)
        else:
            self.routes.append(request.url.path.split("/")[1])
            self.asked.put(await request.json())
        answer = await asyncio.to_thread(self._answers.get, timeout=SECONDS)
        return (
            answer if isinstance(answer, Response) else StreamingResponse(_sent(answer), media_type="text/event-stream")
        )

    async def run_call(self, request: Request) -> Response:
        self.headers.append(dict(request.headers))
        self.called.append(await request.json())
        return await asyncio.to_thread(self.results.get, timeout=SECONDS)


def never_opened() -> GLM:
    """The model of a server that only describes its API."""
    raise AssertionError("this server has no model")


def scripted_app(current: Callable[[], Wire]) -> ASGIApp:
    """Return a server with the page, whose answers are those of the wire that is current when a request comes.

    Its files are fresh for an hour: the browser does not ask for all of them again in every test.
    """

    async def models(request: Request) -> Response:
        return await current().models(request)

    async def completions(identifier: str, request: Request) -> Response:
        return await current().completions(identifier, request)

    async def run_call(request: Request) -> Response:
        return await current().run_call(request)

    app = FastAPI()
    app.openapi = create_app(ServerSettings("scripted"), never_opened).openapi  # type: ignore[method-assign]
    app.include_router(page_router())
    app.add_api_route("/v1/models", models)
    app.add_api_route("/page-answers/{identifier}", completions, methods=["POST", "GET", "DELETE"])
    app.add_api_route("/page-research/{identifier}", completions, methods=["POST"])
    app.add_api_route("/page-tools", run_call, methods=["POST"])
    return _lasting(app)


def _lasting(app: ASGIApp) -> ASGIApp:
    async def lasting(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start" and scope["path"].startswith("/page/"):
                kept = [(name, value) for name, value in message["headers"] if name != b"cache-control"]
                message = {**message, "headers": [*kept, (b"cache-control", b"max-age=3600")]}
            await send(message)

        await app(scope, receive, sending if scope["type"] == "http" else send)

    return lasting


def refusal(status: int, message: str, code: str | None = None, **headers: str) -> Response:
    """An error as the server writes it."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return JSONResponse({"error": error}, status, headers)


async def _sent(answer: Answer) -> AsyncIterator[str]:
    """Send pieces as they are written, until the end or until the client is gone, which closes the generator."""
    how = "left"
    try:
        async for piece in answer.written():
            if piece == BREAK:
                raise ConnectionResetError("as the test wanted it")
            yield piece
        how = "sent"
    finally:
        answer.ended.put(how)
