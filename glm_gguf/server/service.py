"""What all handlers share: the models, settings, threads and counts. Answers begin here, and are counted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Final, Literal, TypeVar

from fastapi import Request

from glm_gguf.answers.answer_options import AnswerOptions, TextOptions
from glm_gguf.answers.prepared_answer import AsyncEvents, PreparedAnswer
from glm_gguf.errors import DeadlineError
from glm_gguf.model import GLM
from glm_gguf.server.answer_request import AnswerRequest
from glm_gguf.server.bodies.ignored_fields import note_unenforced
from glm_gguf.server.bodies.memory import Bodies
from glm_gguf.server.jobs import Jobs
from glm_gguf.server.metrics import MeasuredEvents, Metrics
from glm_gguf.server.pool.catalogue import Catalogue
from glm_gguf.server.pool.model_pool import ModelPool
from glm_gguf.server.pool.pooled_model import LoadedModel, StateName
from glm_gguf.server.research.researches import Researches
from glm_gguf.server.settings import ServerSettings
from glm_gguf.server.streams.sse import KEEP_ALIVE, StreamedResponse, StreamForm, unless_gone

LOGGER = logging.getLogger(__name__)
T = TypeVar("T")
ServiceStatus = StateName | Literal["ending"]
HELD: Final = "glm_gguf.held"
"""Key of a request's ExitStack in its scope; AccessMiddleware closes it when the response has ended."""
Options = TypeVar("Options", TextOptions, AnswerOptions)
CLOSING_SECONDS = 2.0
"""How long the end waits for requests in preparation."""

MOST_LOGGED = 1000
"""Names of ignored fields; clients' inventions must not fill the log."""


class Service:
    """The state that all handlers share, on `app.state.service`; it closes the models that its pool opened."""

    def __init__(self, settings: ServerSettings, catalogue: Catalogue) -> None:
        self.settings = settings
        self.pool = ModelPool(catalogue, settings)
        self.draining = False
        """The server refuses new requests; active ones go on."""
        self.active = 0
        """Number of requests whose response has not ended."""
        self.bodies = Bodies(settings.limits.bodies_bytes)
        self.metrics = Metrics(self.pool)
        self._ignored: set[str] = set()
        self._rendering = Jobs("glm-gguf-rendering", settings.limits.preparing)
        self._compiling = Jobs("glm-gguf-compiling", settings.limits.preparing)
        """Requests with schemas or grammars have threads of their own, so that slow ones block no others."""
        self.researches = Researches(settings.research, settings.limits, self.metrics.count_research)
        self.metrics.read_researches(lambda: self.researches.running)
        self._fetching = Jobs("glm-gguf-fetching", settings.limits.fetches, "models are being fetched")

    @property
    def status(self) -> ServiceStatus:
        """The state that /health reports: of the one model, or of a server that has several."""
        only = self.pool.catalogue.only
        state = "ready" if only is None else self.pool.chosen(only).state_name
        return "ending" if self.draining and state in ("ready", "asleep") else state

    async def model(self, request: Request, name: str | None) -> LoadedModel:
        """Return the model that a request names, loaded; it stays so until the response ends.

        Refused for an unknown model or one that cannot be loaded; ClientGone if the client leaves the line.
        """
        return await unless_gone(request.receive, self.pool.acquire(name, request.scope[HELD]))

    def close(self) -> bool:
        """Stop all answers and free the models; safe to call twice.

        Returns False if a thread does not end; the models stay loaded where it may use one.
        """
        fetched = self._fetching.close(CLOSING_SECONDS)
        ended = [jobs.close(CLOSING_SECONDS) for jobs in (self.researches, self._rendering, self._compiling)]
        if not all(ended):
            LOGGER.warning("a request is still being prepared; the models stay loaded until the process ends")
        else:
            self.pool.close()
        return fetched and all(ended)

    def log_ignored(self, names: Iterable[str]) -> None:
        """Log each ignored field of requests once."""
        unknown = (name[:64] for name in names)
        new = set(islice((name for name in unknown if name not in self._ignored), MOST_LOGGED - len(self._ignored)))
        if new:
            self._ignored |= new
            LOGGER.warning("requests have fields that the server ignores: %s", ", ".join(map(ascii, sorted(new))))

    async def begin(self, request: Request, model: LoadedModel, answer_request: AnswerRequest) -> list[AsyncEvents]:
        """Begin n answers to a conversation; every refusal happens here."""
        answer_request.require_modest(self.settings.limits)
        sampling = answer_request.sampling.filled(self.settings.sampling)
        filled = replace(answer_request, sampling=sampling, options=self.for_server(answer_request.options))
        prompts, costly = [filled.prepared], answer_request.costly
        return await self.begin_prepared(request, model, prompts, answer_request.n, costly=costly)

    async def count(self, request: Request, model: LoadedModel, answer_request: AnswerRequest) -> int:
        """Count the tokens of a conversation's prompt."""
        answer_request.require_modest(self.settings.limits)
        glm = model.glm
        return await self.prepared(
            request,
            lambda: len(
                glm.prompt_ids(answer_request.messages, answer_request.tools, **answer_request.prompt_options(glm))
            ),
        )

    async def begin_prepared(
        self,
        request: Request,
        model: LoadedModel,
        prompts: Sequence[Callable[[GLM], PreparedAnswer]],
        n: int,
        *,
        costly: bool = False,
    ) -> list[AsyncEvents]:
        """Prepare each prompt on a thread and begin n answers to it; if one is refused, all stop."""
        glm, loop = model.glm, asyncio.get_running_loop()

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

    async def fetched(self, job: Callable[[], T]) -> T:
        """Run a job that fetches a model, on a thread; Refused (429) where too many are under way."""
        return await self._fetching.run(job)

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

    def sse_response(self, pieces: AsyncGenerator[bytes, None], ping: bytes = KEEP_ALIVE) -> StreamedResponse:
        """Return a response of server-sent events."""
        return self.streamed_response(pieces, StreamForm(ping=ping))

    def streamed_response(self, pieces: AsyncGenerator[bytes, None], form: StreamForm) -> StreamedResponse:
        """Return a streamed response."""
        stall = self.settings.limits.stall_seconds
        return StreamedResponse(pieces, form, keep_alive=self.settings.limits.keep_alive_seconds, stall_seconds=stall)

    def for_server(self, options: Options) -> Options:
        """Cap the time of an answer at the server's limit, and ask for the progress of its prefill."""
        return {**options, "timeout": self.time_limit(options), "progress": True}

    def time_limit(self, options: TextOptions) -> float:
        """Return the time limit of an answer, in seconds."""
        most = self.settings.limits.seconds
        return min(options.get("timeout") or most, most)


def close_all(answers: Sequence[AsyncEvents]) -> None:
    """Stop answers."""
    for answer in answers:
        answer.close()
