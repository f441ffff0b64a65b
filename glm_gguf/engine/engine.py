"""The thread that owns a context, and the one door to it that any thread may use."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from types import TracebackType
from typing import Self, TypeVar

from glm_gguf.engine.context import Context
from glm_gguf.engine.context_parameters import ContextSize
from glm_gguf.engine.delivery import Delivery, Drawn
from glm_gguf.engine.embedding import MeanState, Vector
from glm_gguf.engine.memory import available_memory, host_cache_size
from glm_gguf.engine.model_handle import ModelHandle
from glm_gguf.engine.options import EngineOptions, Scales
from glm_gguf.engine.reading import Reading
from glm_gguf.engine.request import Request, Ticket
from glm_gguf.engine.scheduler import Scheduler
from glm_gguf.engine.scoring import Scores
from glm_gguf.engine.status import EngineStatus
from glm_gguf.errors import ContextLengthError, EngineError, GlmGgufError, QueueFullError, RequestError

T = TypeVar("T")
Task = Callable[[Scheduler, Context], None]
CLOSED = "the model is closed"
LATER = "try again later, or give a larger n_queue"
MORE_ROOM = "give a larger n_ctx, or a shorter conversation"


class Engine:
    """A scheduler on a thread of its own; requests, texts to read and tasks come in through a mailbox."""

    def __init__(self, model: ModelHandle, options: EngineOptions) -> None:
        self._model = model
        host = host_cache_size(model.contents, options, available_memory())
        options = replace(options, n_host_cache=host, n_gpu_layers=model.offload.n_on_gpus)
        self._options = options
        self._context = Context(model, options)
        self._scheduler = Scheduler(self._context, model.vocabulary, options)
        self._mail = threading.Condition()
        self._tasks: deque[Task] = deque()
        self._arrivals = 0  # requests in the mailbox
        self._closing = False
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name="glm-gguf-engine", daemon=True)
        self._thread.start()

    @property
    def size(self) -> ContextSize:
        """Sizes of context and batch."""
        return self._context.size

    def submit(self, request: Request, deliver: Callable[[Delivery], None]) -> Ticket:
        """Put a request in line; what comes of it is delivered on the engine's thread.

        A large batch that has just begun for another request alone is given up for it.
        """
        self.check(request.prompt)
        ticket = Ticket(request, deliver)
        with self._mail:
            if self._arrivals + self._scheduler.load >= self._options.n_queue + self._options.n_parallel:
                raise QueueFullError(f"{self._options.n_queue} requests are waiting already", fix=LATER)
            self._arrivals += 1
        self._post(lambda scheduler, _: self._arrive(scheduler, ticket))
        if self._scheduler.gives_way:
            self._context.abort()
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Stop an answer at the next step; a batch that is computed for it alone is given up at once."""
        ticket.cancelled = True
        if self._scheduler.lone.is_for(ticket):
            self._context.abort()

    @property
    def status(self) -> EngineStatus:
        """What it is busy with."""
        status = self._scheduler.status
        return replace(status, waiting=status.waiting + self._arrivals)

    def embed(self, tokens: Sequence[int], where: str = "prompt") -> Vector:
        """Turn a text into a vector, while answers are being written."""
        return self._embedding(tokens, where).result.result()

    async def aembed(self, tokens: Sequence[int], where: str = "prompt") -> Vector:
        """Turn a text into a vector in an event loop; cancelling it frees its cells at the next step."""
        return await _found(self._embedding(tokens, where))

    def score(self, tokens: Sequence[int], alternatives: int, scales: Scales) -> list[Drawn]:
        """Return natural log probabilities of all tokens behind those before them, and of the likeliest ones."""
        return self._scoring(tokens, alternatives, scales).result.result()

    async def ascore(self, tokens: Sequence[int], alternatives: int, scales: Scales) -> list[Drawn]:
        """Return them in an event loop; cancelling it frees its cells at the next step."""
        return await _found(self._scoring(tokens, alternatives, scales))

    def _scoring(self, tokens: Sequence[int], alternatives: int, scales: Scales) -> Reading[list[Drawn]]:
        self.check(tokens)
        return self._line_up(Reading(tokens, scales, Scores(tokens, alternatives)))

    def _embedding(self, tokens: Sequence[int], where: str = "prompt") -> Reading[Vector]:
        self.check(tokens, where)
        return self._line_up(Reading(tokens, self._options.scales, MeanState()))

    def _line_up(self, reading: Reading[T]) -> Reading[T]:
        """Put a text in line."""
        if self._scheduler.status.embeddings > self._options.n_queue:
            raise QueueFullError(f"{self._options.n_queue} texts are waiting already", fix=LATER)
        self._post(lambda scheduler, _: scheduler.add_reading(reading))
        return reading

    def call(self, function: Callable[[Scheduler, Context], T]) -> T:
        """Run a function between two steps and return what it returns."""
        result: Future[T] = Future()

        def task(scheduler: Scheduler, context: Context) -> None:
            try:
                result.set_result(function(scheduler, context))
            except GlmGgufError as error:
                result.set_exception(error)
            finally:
                result.cancel()

        self._post(task)
        return result.result()

    def check_process(self) -> None:
        """Raise EngineError after a fork: the thread stayed in the parent."""
        if os.getpid() != self._process:
            raise EngineError(
                "the model was opened in another process", where=self._model.path, fix="open it anew after the fork"
            )

    def close(self) -> None:
        """End all answers and free the context; doing it twice does no harm, nor does it in a forked child."""
        if os.getpid() != self._process:
            return
        with self._mail:
            self._closing = True
            self._mail.notify()
        if self._thread.is_alive():
            self._context.abort()
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def check(self, prompt: Sequence[int], where: str = "prompt") -> None:
        """Refuse a prompt before it is put in line."""
        self.check_process()
        if not prompt:
            raise RequestError("empty", field=where, fix="give at least one token")
        if len(prompt) >= self.size.n_ctx:
            n_ctx = self.size.n_ctx
            # Clients know this error by OpenAI's words.
            what = (
                f"{len(prompt)} tokens do not fit into {n_ctx} (this model's maximum context length is {n_ctx} tokens)"
            )
            raise ContextLengthError(what, field=where, fix=MORE_ROOM)
        n_vocab = self._model.vocabulary.size
        if not 0 <= min(prompt) <= max(prompt) < n_vocab:
            raise RequestError(f"a token id is not in the vocabulary of {n_vocab}", field=where)

    def _post(self, task: Task) -> None:
        with self._mail:
            if self._closing:
                raise EngineError(CLOSED, where=self._model.path)
            self._tasks.append(task)
            self._mail.notify()

    def _arrive(self, scheduler: Scheduler, ticket: Ticket) -> None:
        with self._mail:
            self._arrivals -= 1
        scheduler.add(ticket)

    def _run(self) -> None:
        """The life of the thread."""
        try:
            while self._open_mail():
                self._scheduler.step()
        finally:  # by close(), or by an error of ours: nobody may wait for ever
            self._end()

    def _open_mail(self) -> bool:
        """Wait until there is something to do, and do what was asked for; False where the engine closes."""
        with self._mail:
            waiting = self._scheduler.patience if self._scheduler.busy else None
            self._mail.wait_for(lambda: self._closing or self._tasks, waiting)
            tasks = list(self._tasks)
            self._tasks.clear()
            if self._closing:
                self._tasks.extend(tasks)
                return False
        for task in tasks:
            task(self._scheduler, self._context)
        return True

    def _end(self) -> None:
        with self._mail:
            self._closing = True
            tasks = list(self._tasks)
        for task in tasks:
            task(self._scheduler, self._context)
        self._scheduler.close(CLOSED)
        self._context.close()


async def _found(reading: Reading[T]) -> T:
    """Wait in an event loop; whoever stops waiting frees the cells at the next step."""
    try:
        return await asyncio.wrap_future(reading.result)
    finally:
        reading.cancelled = True
