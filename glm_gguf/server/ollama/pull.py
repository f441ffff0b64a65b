"""POST /api/pull: a model that the server lacks is fetched into the store, where the server serves one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from functools import partial
from typing import Final

from fastapi import APIRouter, Request, Response

from glm_gguf.errors import TransferError
from glm_gguf.server.bodies.json_body import JsonRoute
from glm_gguf.server.bodies.wire import WireRequest, WireResponse
from glm_gguf.server.docs.openapi import OLLAMA_ERRORS, line_response, with_example
from glm_gguf.server.ollama.model_details import untagged
from glm_gguf.server.ollama.model_routes import found_model
from glm_gguf.server.ollama.routes import LINES
from glm_gguf.server.pool.catalogue import Fetch, FetchProgress
from glm_gguf.server.problem import Problem, Refused
from glm_gguf.server.service import Service
from glm_gguf.server.streams.sse import unless_gone
from glm_gguf.server.streams.wire_stream import line_stream

router = APIRouter(route_class=JsonRoute, tags=["Ollama"])


class PullRequest(WireRequest):
    """A model that should be there."""

    model_config = with_example(model="glm", stream=False)

    model: str | None = None
    """The name of a model that is there, a short name, or an address: hf://OWNER/NAME:TYPE, hf.co/OWNER/NAME:TYPE."""
    name: str | None = None
    """The older name of `model`."""
    stream: bool | None = None
    """false: one object with `Content-Type: application/json`; else lines."""
    insecure: bool | None = None
    """Nothing is fetched but from the two hubs, so it changes nothing."""


class PullStatus(WireResponse):
    """What happens now; `success` at the end."""

    status: str
    digest: str | None = None
    """`sha256:` and the hash of the file that is fetched."""
    total: int | None = None
    """Bytes of that file, or of the one that is converted."""
    completed: int | None = None
    """Those that are there."""


SUCCESS: Final = PullStatus(status="success")
GO_ON: Final = "the same request goes on from what is there"
POLL_SECONDS: Final = 0.5
"""How often a fetch looks whether the server should end."""


@router.post(
    "/api/pull",
    summary="Fetch a model (Ollama)",
    response_model=PullStatus,
    responses=OLLAMA_ERRORS | line_response('{"status": "pulling manifest"}\n{"status": "success"}\n'),
)
async def pull(body: PullRequest, request: Request) -> Response:
    """Fetch a model, unless it is there; refuse where the server serves other models than those of the store."""
    service: Service = request.app.state.service
    name = untagged(body.model or body.name)
    if name is None:
        raise Refused(Problem(400, "model: give a model's name or address.", param="model"))
    fetch = None if _is_there(service, name) else _fetch_of(service, name)
    replies = _fetched(service, fetch, name)
    if body.stream is False:
        return await unless_gone(request.receive, _last(replies))
    first = await unless_gone(request.receive, anext(replies))  # a mistake in the name gets a status of its own
    return service.streamed_response(line_stream(_followed(first, replies)), LINES)


def _is_there(service: Service, name: str) -> bool:
    known = found_model(service, name)
    path = None if known is None else service.pool.catalogue.path(known.name)
    return known is not None and (path is None or path.exists())


def _fetch_of(service: Service, name: str) -> Fetch:
    """Return what fetches models; Refused where requests may fetch none."""
    catalogue = service.pool.catalogue
    if catalogue.fetch is None:
        serve = "" if catalogue.only is None else ", and `glm-gguf serve` with its name"
        what = f"the server fetches no models, and has no {name[:100]!r}; run `glm-gguf pull` on its machine{serve}"
        raise Refused(Problem(400, f"{what}.", param="model", as_sent=True))
    return catalogue.fetch


async def _fetched(service: Service, fetch: Fetch | None, name: str) -> AsyncGenerator[PullStatus, None]:
    """Yield what happens until the model is there; raises what `fetch` raises."""
    if fetch is not None:
        async with aclosing(Transfer(service, fetch, name).progress()) as told:
            async for progress in told:
                yield _status(progress)
    yield SUCCESS


async def _followed(first: PullStatus, others: AsyncGenerator[PullStatus, None]) -> AsyncGenerator[PullStatus, None]:
    async with aclosing(others):
        yield first
        async for status in others:
            yield status


async def _last(replies: AsyncGenerator[PullStatus, None]) -> Response:
    async with aclosing(replies):
        return [status async for status in replies][-1].response()


def _status(progress: FetchProgress) -> PullStatus:
    """Write progress as Ollama does; its clients draw a bar for each digest."""
    if progress.n_bytes is None:
        return PullStatus(status=progress.what)
    total, completed = progress.n_bytes, progress.n_done
    if progress.sha256 is None:
        return PullStatus(status=progress.what, total=total, completed=completed)
    status, digest = f"pulling {progress.sha256[:12]}", f"sha256:{progress.sha256}"
    return PullStatus(status=status, digest=digest, total=total, completed=completed)


class Transfer:
    """A model that a thread fetches, and what the thread tells the event loop of it."""

    def __init__(self, service: Service, fetch: Fetch, name: str) -> None:
        self._service = service
        self._job = partial(fetch, name, self._tell)
        self._loop = asyncio.get_running_loop()
        self._told: asyncio.Queue[FetchProgress | None] = asyncio.Queue()
        self._left = False

    async def progress(self) -> AsyncGenerator[FetchProgress, None]:
        """Fetch, and yield what is told; closing it stops the thread at its next piece.

        Raises GlmGgufError, also when the server should end: what is there is kept.
        """
        job = asyncio.ensure_future(self._service.fetched(self._job))
        job.add_done_callback(lambda _: self._told.put_nowait(None))
        try:
            while (progress := await self._next()) is not None:
                yield progress
            await job
        finally:
            self._left = True
            job.cancel()
            await asyncio.gather(job, return_exceptions=True)

    async def _next(self) -> FetchProgress | None:
        """Return what is told next; None when the thread has ended."""
        while not self._service.draining:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    return await self._told.get()
        raise TransferError("the fetch was stopped", fix=GO_ON)

    def _tell(self, progress: FetchProgress) -> None:
        """Tell the event loop, on the thread; TransferError, which keeps what is there, where nobody listens."""
        if self._left:
            raise TransferError("nobody waits for it any more", fix=GO_ON)
        self._loop.call_soon_threadsafe(self._told.put_nowait, progress)
