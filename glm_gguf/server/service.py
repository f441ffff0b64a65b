"""The server's model and its state: loading, ready or failed. Answers begin here, and are counted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal, TypeVar

from fastapi import Request

from glm_gguf.answers.answer_options import AnswerOptions, TextOptions
from glm_gguf.answers.prepared_answer import AsyncEvents, PreparedAnswer
from glm_gguf.errors import DeadlineError, GlmGgufError, as_engine_error
from glm_gguf.model import GLM
from glm_gguf.server.answer_request import AnswerRequest
from glm_gguf.server.bodies.ignored_fields import note_unenforced
from glm_gguf.server.bodies.memory import Bodies
from glm_gguf.server.jobs import Jobs
from glm_gguf.server.metrics import MeasuredEvents, Metrics
from glm_gguf.server.problem import FAILED, LOADING, NOT_LOADED, Refused
from glm_gguf.server.settings import ServerSettings
from glm_gguf.server.streams.sse import KEEP_ALIVE, SseResponse, unless_gone

LOGGER = logging.getLogger(__name__)
T = TypeVar("T")
ServiceStatus = Literal["loading", "ready", "ending", "failed"]
Options = TypeVar("Options", TextOptions, AnswerOptions)
CLOSING_SECONDS = 2.0
"""How long the end waits for requests in preparation."""

MOST_LOGGED = 1000
"""Names of ignored fields; clients' inventions must not fill the log."""


@dataclass(frozen=True, slots=True)
class Loading:
    """The model is loading."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The model answers."""

    glm: GLM
    fingerprint: str
    since: int
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The model could not be loaded."""

    error: GlmGgufError


class Service:
    """The state that all handlers share, on `app.state.service`; it closes the model that it opened."""

    def __init__(self, settings: ServerSettings, open_model: Callable[[], GLM]) -> None:
        self.settings = settings
        self.state: Loading | Ready | LoadFailed = Loading()
        self.draining = False
        """The server refuses new requests; active ones go on."""
        self.active = 0
        """Number of requests whose response has not ended."""
        self.bodies = Bodies(settings.limits.bodies_bytes)
        self.metrics = Metrics(lambda: self.state.glm.status if isinstance(self.state, Ready) else None)
        self._open_model = open_model
        self._ignored: set[str] = set()
        self._rendering = Jobs("glm-gguf-rendering", settings.limits.preparing)
        self._compiling = Jobs("glm-gguf-compiling", settings.limits.preparing)
        """Requests with schemas or grammars have threads of their own, so that slow ones block no others."""

    @property
    def ready(self) -> Ready:
        """The loaded model; Refused (503) without one."""
        match self.state:
            case Loading():
                raise Refused(LOADING)
            case LoadFailed():
                raise Refused(NOT_LOADED)
        if self.state.glm.status.failed:
            raise Refused(FAILED)
        return self.state

    @property
    def status(self) -> ServiceStatus:
        """The state that /health reports."""
        match self.state:
            case Loading():
                return "loading"
            case Ready(glm) if not glm.status.failed:
                return "ending" if self.draining else "ready"
        return "failed"

    @property
    def load_failed(self) -> bool:
        """The model could not be loaded; the server ends."""
        return isinstance(self.state, LoadFailed)

    @property
    def loaded(self) -> bool:
        """The model answers."""
        return isinstance(self.state, Ready)

    @property
    def glm(self) -> GLM:
        """The loaded model; Refused (503) without one."""
        return self.ready.glm

    def load(self) -> None:
        """Open the model. An error becomes the state; without logging set up it goes to stderr."""
        try:
            self.state = _opened(self._open_model)
        except GlmGgufError as error:
            LOGGER.error("Error: the model could not be loaded: %s", error)
            self.state = LoadFailed(error)
        except Exception as error:  # the outermost edge of this thread: nothing else would report it
            LOGGER.exception("Error: the model could not be loaded")
            self.state = LoadFailed(as_engine_error(error))

    def close(self) -> bool:
        """Stop all answers and free the model; safe to call twice.

        Returns False if a thread does not end: it may use the model, so the model stays loaded.
        """
        ended = [jobs.close(CLOSING_SECONDS) for jobs in (self._rendering, self._compiling)]
        if not all(ended):
            LOGGER.warning("a request is still being prepared; the model stays loaded until the process ends")
        elif isinstance(self.state, Ready):
            self.state.glm.close()
        return all(ended)

    def log_ignored(self, names: Iterable[str]) -> None:
        """Log each ignored field of requests once."""
        unknown = (name[:64] for name in names)
        new = set(islice((name for name in unknown if name not in self._ignored), MOST_LOGGED - len(self._ignored)))
        if new:
            self._ignored |= new
            LOGGER.warning("requests have fields that the server ignores: %s", ", ".join(map(ascii, sorted(new))))

    async def begin(self, request: Request, answer_request: AnswerRequest) -> list[AsyncEvents]:
        """Begin n answers to a conversation; every refusal happens here."""
        answer_request.require_modest(self.settings.limits)
        sampling = answer_request.sampling.filled(self.settings.sampling)
        filled = replace(answer_request, sampling=sampling, options=self.with_time_limit(answer_request.options))
        return await self.begin_prepared(request, [filled.prepared], answer_request.n, costly=answer_request.costly)

    async def count(self, request: Request, answer_request: AnswerRequest) -> int:
        """Count the tokens of a conversation's prompt."""
        answer_request.require_modest(self.settings.limits)
        glm = self.glm
        return await self.prepared(
            request,
            lambda: len(
                glm.prompt_ids(answer_request.messages, answer_request.tools, **answer_request.prompt_options(glm))
            ),
        )

    async def begin_prepared(
        self, request: Request, prompts: Sequence[Callable[[GLM], PreparedAnswer]], n: int, *, costly: bool = False
    ) -> list[AsyncEvents]:
        """Prepare each prompt on a thread and begin n answers to it; if one is refused, all stop."""
        glm, loop = self.glm, asyncio.get_running_loop()

        def begun() -> list[AsyncEvents]:
            ready = [prepare(glm) for prepare in prompts]
            note_unenforced(request, [prepared.plan.unenforced for prepared in ready])
            answers: list[AsyncEvents] = []
            try:
                for prepared in ready:
                    for index in range(n):
                        events = prepared.for_choice(index).events(loop)
                        answers.append(MeasuredEvents(events, self.metrics, with_prompt=index == 0))
            except BaseException:
                close_all(answers)
                raise
            return answers

        jobs = self._compiling if costly else self._rendering
        return await self._awaited(request, jobs.run(begun, close_all))

    async def prepared(self, request: Request, job: Callable[[], T]) -> T:
        """Run a job on a thread; ClientGone if the client disconnects first."""
        return await self._awaited(request, self._rendering.run(job))

    async def _awaited(self, request: Request, work: Coroutine[Any, Any, T]) -> T:
        """Wait for a thread; ClientGone if the client disconnects, DeadlineError after `preparing_seconds`."""
        limit = asyncio.timeout(self.settings.limits.preparing_seconds)
        try:
            async with limit:
                return await unless_gone(request.receive, work)
        except TimeoutError:
            if not limit.expired():
                raise
            raise DeadlineError("the request could not be prepared in time", fix="try again later") from None

    def sse_response(self, pieces: AsyncGenerator[bytes, None], ping: bytes = KEEP_ALIVE) -> SseResponse:
        """Return a streamed response."""
        stall = self.settings.limits.stall_seconds
        return SseResponse(pieces, keep_alive=self.settings.keep_alive, stall_seconds=stall, ping=ping)

    def with_time_limit(self, options: Options) -> Options:
        """Cap the time of an answer at the server's limit."""
        return {**options, "timeout": self.time_limit(options)}

    def time_limit(self, options: TextOptions) -> float:
        """Return the time limit of an answer, in seconds."""
        most = self.settings.limits.seconds
        return min(options.get("timeout") or most, most)


def _opened(open_model: Callable[[], GLM]) -> Ready:
    """Open a model and take its fingerprint; close it if that fails."""
    glm = open_model()
    try:
        return Ready(glm, f"fp_{glm.fingerprint()[:12]}", int(time.time()))
    except BaseException:
        glm.close()
        raise


def close_all(answers: Sequence[AsyncEvents]) -> None:
    """Stop answers."""
    for answer in answers:
        answer.close()
