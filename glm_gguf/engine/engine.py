"""The thread that owns a context, and the methods by which any other thread asks it."""

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
from glm_gguf.engine.draft_model import DraftModel
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
    WorkerLostError,
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
    """A scheduler on a thread of its own; a queue brings it requests, texts to embed or score, and calls.

    An error of the engine's own ends the thread. Every caller then gets an EngineFailedError with the cause, and none
    waits for ever. The public methods are for any thread; a comment below says where the engine's thread begins.
    """

    def __init__(self, model: ModelHandle, plan: LoadPlan, draft_model: DraftModel | None = None) -> None:
        self._model = model
        self._plan = plan
        self._options = plan.options
        self._tasks = TaskQueue()
        self._under_way: set[RequestHandle] = set()  # queued, waiting, running, or between two of these
        self._failure: BaseException | None = None
        self._process = os.getpid()
        self._context = Context(model, plan)
        try:
            self._scheduler = Scheduler(self._context, model.vocabulary, plan, draft_model)
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
        """Requests that may wait or run at once."""
        return self._options.n_queue + self._options.n_parallel

    def submit(self, request: Request, deliver: Callable[[Delivery], None]) -> RequestHandle:
        """Queue a request, whose deliveries then come on the engine's thread.

        It aborts a large batch that serves a single request and is less than half done. Raises RequestError or
        ContextLengthError for the prompt, QueueFullError, and EngineError for a closed engine.
        """
        self.check(request.prompt)
        handle = RequestHandle(request, deliver, self._under_way.discard)
        self._tasks.put(NewRequest(handle), lambda: self._register(handle))
        self._scheduler.preempt_batch()
        return handle

    def cancel(self, handle: RequestHandle) -> None:
        """End an answer at the next step. At once, it counts no more in the queue, and its own batch is aborted."""
        handle.cancelled = True
        self._under_way.discard(handle)
        self._scheduler.batch_under_way.abort_for(handle)

    @property
    def status(self) -> EngineStatus:
        """Counts of requests and cells."""
        status, lost = self._scheduler.status, self._plan.workers.loss
        if self._failure is not None or lost is not None:
            return EngineStatus(0, 0, 0, 0, status.n_cells, 0, status.steps, failed=True, worker_lost=lost)
        waiting = max(len(self._under_way) - status.running, 0)
        return replace(status, waiting=waiting, embeddings=status.embeddings + self._tasks.count(NewPromptJob))

    def embed(self, tokens: Sequence[int], field: str = "prompt") -> Vector:
        """Embed a text beside the answers; returns its vector, [n_embd]."""
        return self._embedding(tokens, field).result.result()

    async def aembed(self, tokens: Sequence[int], field: str = "prompt") -> Vector:
        """Embed a text in an event loop; a cancelled one frees its cells at the next step."""
        return await _awaited(self._embedding(tokens, field))

    def score(self, tokens: Sequence[int], alternatives: int, scales: Scales) -> list[SampledToken]:
        """Return the natural log probability of each token after those before it, with the likeliest alternatives."""
        return self._scoring(tokens, alternatives, scales).result.result()

    async def ascore(self, tokens: Sequence[int], alternatives: int, scales: Scales) -> list[SampledToken]:
        """Score tokens in an event loop; a cancelled text frees its cells at the next step."""
        return await _awaited(self._scoring(tokens, alternatives, scales))

    def _scoring(self, tokens: Sequence[int], alternatives: int, scales: Scales) -> PromptJob[list[SampledToken]]:
        self.check(tokens)
        return self._enqueue(PromptJob(tokens, scales, PromptLogprobs(tokens, alternatives)))

    def _embedding(self, tokens: Sequence[int], field: str = "prompt") -> PromptJob[Vector]:
        self.check(tokens, field)
        return self._enqueue(PromptJob(tokens, self._options.scales, MeanPooling()))

    def _enqueue(self, job: PromptJob[T]) -> PromptJob[T]:
        """Queue a text to embed or score."""
        self._tasks.put(NewPromptJob(job), self._require_room_for_text)
        return job

    def call(self, function: Callable[[Scheduler, Context], T]) -> T:
        """Run a function on the engine's thread between two steps; returns its value, raises its error."""
        self.check_caller()
        task = Call(function)
        self._tasks.put(task)
        return task.result.result()

    def check_caller(self) -> None:
        """Raise EngineError where a caller would wait for ever: in a forked child, and on the engine's own threads."""
        if os.getpid() != self._process:  # the thread stayed in the parent
            raise EngineError(
                "the model was opened in another process", path=self._model.path, fix="open it again after the fork"
            )
        if self._is_own_thread:
            what = "a constraint cannot ask the model that asks it"
            raise EngineError(what, path=self._model.path, fix="ask from another thread, before or after the answer")

    @property
    def _is_own_thread(self) -> bool:
        """The calling thread is one of the engine's."""
        return self._thread is threading.current_thread() or self._scheduler.mask_thread.is_current

    def close(self) -> None:
        """End all answers and free the context; a second call does nothing, nor does one in a forked child.

        A constraint may call it, and the garbage collector on any thread: the engine's threads do not wait for
        themselves.
        """
        if os.getpid() != self._process:
            return
        self._tasks.close(self._refusal)
        if self._thread.is_alive():
            self._scheduler.batch_under_way.stop()
            if not self._is_own_thread:
                self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def check(self, prompt: Sequence[int], field: str = "prompt") -> None:
        """Raise RequestError or ContextLengthError for a prompt that the model cannot take."""
        self.check_caller()
        if not prompt:
            raise RequestError("empty", field=field, fix="give at least one token")
        if len(prompt) >= self.size.n_ctx:
            n_ctx = self.size.n_ctx
            # Clients know this error by OpenAI's words.
            what = f"{len(prompt)} tokens do not fit: this model's maximum context length is {n_ctx} tokens"
            raise ContextLengthError(what, field=field, fix=self._length_fix())
        n_vocab = self._model.vocabulary.size
        if not 0 <= min(prompt) <= max(prompt) < n_vocab:
            raise RequestError(f"a token id is not in the vocabulary of {n_vocab}", field=field)

    def _length_fix(self) -> str:
        """Say how a longer text would fit."""
        if self.size.n_ctx < self.size.n_known:
            return MORE_ROOM
        return STRETCH if self._options.yarn is None else NO_MORE_ROOM

    def _register(self, handle: RequestHandle) -> None:
        """Count a request among those under way, under the queue's lock; QueueFullError where n_queue already wait."""
        if len(self._under_way) >= self.most_requests:
            raise QueueFullError(f"{self._options.n_queue} requests are waiting already", fix=LATER)
        self._under_way.add(handle)

    def _require_room_for_text(self) -> None:
        """Raise QueueFullError where n_queue texts already wait."""
        if self._tasks.count(NewPromptJob) + self._scheduler.status.embeddings > self._options.n_queue:
            raise QueueFullError(f"{self._options.n_queue} texts are waiting already", fix=LATER)

    def _refusal(self) -> EngineError:
        """Make the error for callers of a closed engine, or of a failed one."""
        if self._failure is None:
            return EngineError(CLOSED, path=self._model.path)
        if isinstance(self._failure, WorkerLostError):
            lost = self._failure
            return WorkerLostError(lost.what, path=lost.path, where=lost.where, fix=lost.fix)
        what = f"the engine failed and ended: {in_one_line(self._failure)}"
        error = EngineFailedError(what, path=self._model.path, fix="open the model again")
        error.__cause__ = self._failure
        return error

    # The engine's thread runs all that follows.

    def _run(self) -> None:
        """Take tasks and compute steps until the queue is closed or an error ends the engine."""
        try:
            while True:
                seconds = self._scheduler.linger_seconds if self._scheduler.busy else None
                self._begin_all(seconds)
                if self._tasks.closed:
                    break
                self._scheduler.step()
        except WorkerLostError as error:  # whoever waits for an answer is told
            self._failure = error
        except BaseException as error:
            LOGGER.critical("the engine failed and ends; the model must be opened again", exc_info=True)
            self._failure = error
        self._end()

    def _begin_all(self, seconds: float | None) -> None:
        """Begin the queued tasks. While it waits, the thread keeps no task: one may hold the owner of the model."""
        for task in self._tasks.take(seconds):
            self._begin(task)

    def _begin(self, task: Task) -> None:
        """Begin one task; an error that it does not handle ends the engine."""
        try:
            task.begin(self._scheduler, self._context)
        except BaseException as error:
            self._failure = error
            task.refuse(self._refusal())
            raise

    def _end(self) -> None:
        """Refuse all that waits, then free the context, and after a failure the model; no error skips the others."""
        self._tasks.close(self._refusal)
        with ExitStack() as stack:
            if self._failure is not None:
                stack.callback(self._model.close, self._refusal)
            stack.callback(self._context.close)
            stack.callback(self._scheduler.close, self._refusal)
            for task in self._tasks.drain():
                stack.callback(task.refuse, self._refusal())


async def _awaited(job: PromptJob[T]) -> T:
    """Await a result in an event loop; a cancelled wait frees the cells at the next step."""
    try:
        return await asyncio.wrap_future(job.result)
    finally:
        job.cancelled = True
