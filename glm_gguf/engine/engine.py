"""The thread that owns a context, and the one door to it that any thread may use."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Self, TypeVar

from glm_gguf.engine.delivery import Delivery, SampledToken
from glm_gguf.engine.embedding import MeanPooling, Vector
from glm_gguf.engine.logprobs import PromptLogprobs
from glm_gguf.engine.prompt_job import PromptJob
from glm_gguf.engine.request import Request, RequestHandle
from glm_gguf.engine.scheduler import Scheduler
from glm_gguf.engine.status import EngineStatus
from glm_gguf.engine.task import Call, NewPromptJob, NewRequest, Task
from glm_gguf.engine.task_queue import TaskQueue
from glm_gguf.errors import (
    ContextLengthError,
    EngineError,
    EngineFailedError,
    QueueFullError,
    RequestError,
    in_one_line,
)
from glm_gguf.llama.context import Context
from glm_gguf.llama.context_size import ContextSize
from glm_gguf.llama.engine_options import Scales
from glm_gguf.llama.load_plan import LoadPlan
from glm_gguf.llama.model_handle import ModelHandle

LOGGER = logging.getLogger(__name__)
T = TypeVar("T")
CLOSED = "the model is closed"
LATER = "try again later, or give a larger n_queue"
MORE_ROOM = "give a larger n_ctx, or a shorter conversation"
NO_MORE_ROOM = "give a shorter text"
STRETCH = f"{NO_MORE_ROOM}, or stretch the context by yarn 4"


class Engine:
    """A scheduler on a thread of its own; requests, texts to read and tasks come in through a mailbox.

    Where an error of its own ends the thread, nobody waits for ever: whoever asked or asks is told, with the cause.
    """

    def __init__(self, model: ModelHandle, plan: LoadPlan) -> None:
        self._model = model
        self._plan = plan
        self._options = plan.options
        self._tasks = TaskQueue()
        self._under_way: set[RequestHandle] = set()  # in the mail, in line, running, or between two of these
        self._failure: BaseException | None = None
        self._process = os.getpid()
        self._context = Context(model, plan)
        try:
            self._scheduler = Scheduler(self._context, model.vocabulary, plan)
            self._thread = threading.Thread(target=self._run, name="glm-gguf-engine", daemon=True)
            self._thread.start()
        except BaseException:
            self._context.close()
            raise

    @property
    def size(self) -> ContextSize:
        """Sizes of the context."""
        return self._plan.size

    @property
    def most_requests(self) -> int:
        """How many may wait or run at once."""
        return self._options.n_queue + self._options.n_parallel

    def submit(self, request: Request, deliver: Callable[[Delivery], None]) -> RequestHandle:
        """Put a request in line; what comes of it is delivered on the engine's thread.

        A large batch that has just begun for another request alone is given up for it.
        """
        self.check(request.prompt)
        handle = RequestHandle(request, deliver, self._under_way.discard)
        self._tasks.put(NewRequest(handle), lambda: self._register(handle))
        self._scheduler.preempt()
        return handle

    def cancel(self, handle: RequestHandle) -> None:
        """Stop an answer at the next step; its place in line is free, and a batch for it alone given up, at once."""
        handle.cancelled = True
        self._under_way.discard(handle)
        self._scheduler.exclusive.abort_for(handle)

    @property
    def status(self) -> EngineStatus:
        """What it is busy with."""
        status = self._scheduler.status
        if self._failure is not None:
            return EngineStatus(0, 0, 0, 0, status.n_cells, 0, status.steps, failed=True)
        waiting = max(len(self._under_way) - status.running, 0)
        return replace(status, waiting=waiting, embeddings=status.embeddings + self._tasks.count(NewPromptJob))

    def embed(self, tokens: Sequence[int], where: str = "prompt") -> Vector:
        """Turn a text into a vector, while answers are being written."""
        return self._embedding(tokens, where).result.result()

    async def aembed(self, tokens: Sequence[int], where: str = "prompt") -> Vector:
        """Turn a text into a vector in an event loop; cancelling it frees its cells at the next step."""
        return await _awaited(self._embedding(tokens, where))

    def score(self, tokens: Sequence[int], alternatives: int, scales: Scales) -> list[SampledToken]:
        """Return natural log probabilities of all tokens behind those before them, and of the likeliest ones."""
        return self._scoring(tokens, alternatives, scales).result.result()

    async def ascore(self, tokens: Sequence[int], alternatives: int, scales: Scales) -> list[SampledToken]:
        """Return them in an event loop; cancelling it frees its cells at the next step."""
        return await _awaited(self._scoring(tokens, alternatives, scales))

    def _scoring(self, tokens: Sequence[int], alternatives: int, scales: Scales) -> PromptJob[list[SampledToken]]:
        self.check(tokens)
        return self._enqueue(PromptJob(tokens, scales, PromptLogprobs(tokens, alternatives)))

    def _embedding(self, tokens: Sequence[int], where: str = "prompt") -> PromptJob[Vector]:
        self.check(tokens, where)
        return self._enqueue(PromptJob(tokens, self._options.scales, MeanPooling()))

    def _enqueue(self, job: PromptJob[T]) -> PromptJob[T]:
        """Put a text in line."""
        self._tasks.put(NewPromptJob(job), self._require_room_for_text)
        return job

    def call(self, function: Callable[[Scheduler, Context], T]) -> T:
        """Run a function between two steps and return what it returns."""
        self.check_caller()
        task = Call(function)
        self._tasks.put(task)
        return task.result.result()

    def check_caller(self) -> None:
        """Raise EngineError where waiting would be for ever: behind a fork, and on the engine's own threads."""
        if os.getpid() != self._process:  # the thread stayed in the parent
            raise EngineError(
                "the model was opened in another process", path=self._model.path, fix="open it anew after the fork"
            )
        if self._is_own_thread:
            what = "a constraint cannot ask the model that asks it"
            raise EngineError(what, path=self._model.path, fix="ask from another thread, before or behind the answer")

    @property
    def _is_own_thread(self) -> bool:
        """The thread that asks is one of the engine's."""
        return self._thread is threading.current_thread() or self._scheduler.mask_thread.is_current

    def close(self) -> None:
        """End all answers and free the context; doing it twice does no harm, nor does it in a forked child.

        A constraint may call it, and the collector on any thread: the engine's own threads do not wait for themselves.
        """
        if os.getpid() != self._process:
            return
        self._tasks.close(self._refusal)
        if self._thread.is_alive():
            self._scheduler.exclusive.stop()
            if not self._is_own_thread:
                self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def check(self, prompt: Sequence[int], where: str = "prompt") -> None:
        """Refuse a prompt before it is put in line."""
        self.check_caller()
        if not prompt:
            raise RequestError("empty", field=where, fix="give at least one token")
        if len(prompt) >= self.size.n_ctx:
            n_ctx = self.size.n_ctx
            # Clients know this error by OpenAI's words.
            what = (
                f"{len(prompt)} tokens do not fit into {n_ctx} (this model's maximum context length is {n_ctx} tokens)"
            )
            raise ContextLengthError(what, field=where, fix=self._room())
        n_vocab = self._model.vocabulary.size
        if not 0 <= min(prompt) <= max(prompt) < n_vocab:
            raise RequestError(f"a token id is not in the vocabulary of {n_vocab}", field=where)

    def _room(self) -> str:
        """Say how a longer text may find room."""
        if self.size.n_ctx < self.size.n_known:
            return MORE_ROOM
        return STRETCH if self._options.yarn is None else NO_MORE_ROOM

    def _register(self, handle: RequestHandle) -> None:
        """Count a request among those under way; refuse it where as many wait as may."""
        if len(self._under_way) >= self.most_requests:
            raise QueueFullError(f"{self._options.n_queue} requests are waiting already", fix=LATER)
        self._under_way.add(handle)

    def _require_room_for_text(self) -> None:
        """Refuse a text where as many wait as may."""
        if self._tasks.count(NewPromptJob) + self._scheduler.status.embeddings > self._options.n_queue:
            raise QueueFullError(f"{self._options.n_queue} texts are waiting already", fix=LATER)

    def _refusal(self) -> EngineError:
        """Make the error for whoever asks a closed engine, or one that failed."""
        if self._failure is None:
            return EngineError(CLOSED, path=self._model.path)
        what = f"the engine failed and ended: {in_one_line(self._failure)}"
        error = EngineFailedError(what, path=self._model.path, fix="open the model again")
        error.__cause__ = self._failure
        return error

    def _run(self) -> None:
        """The life of the thread."""
        try:
            while True:
                waiting = self._scheduler.linger_seconds if self._scheduler.busy else None
                self._begin_all(waiting)
                if self._tasks.closed:
                    break
                self._scheduler.step()
        except BaseException as error:
            LOGGER.critical("the engine failed and ends; the model must be opened again", exc_info=True)
            self._failure = error
        self._end()

    def _begin_all(self, waiting: float | None) -> None:
        """Begin what is in the mailbox. The waiting thread keeps no task, which may lead to who owns the model."""
        for task in self._tasks.take(waiting):
            self._begin(task)

    def _begin(self, task: Task) -> None:
        """Do what was asked for."""
        try:
            task.begin(self._scheduler, self._context)
        except BaseException as error:
            self._failure = error
            task.refuse(self._refusal())
            raise

    def _end(self) -> None:
        """Tell all who wait, then free the context, and behind a failure the model; each whatever the others raise."""
        self._tasks.close(self._refusal)
        with ExitStack() as stack:
            if self._failure is not None:
                stack.callback(self._model.close, self._refusal)
            stack.callback(self._context.close)
            stack.callback(self._scheduler.close, self._refusal)
            for task in self._tasks.rest():
                stack.callback(task.refuse, self._refusal())


async def _awaited(job: PromptJob[T]) -> T:
    """Wait in an event loop; whoever stops waiting frees the cells at the next step."""
    try:
        return await asyncio.wrap_future(job.result)
    finally:
        job.cancelled = True
