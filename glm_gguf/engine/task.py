"""Tasks of the engine's thread: each is begun there or refused, and its caller hears of either."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

from glm_gguf.engine.delivery import AnswerFailed
from glm_gguf.engine.prompt_job import PromptJob
from glm_gguf.engine.request import RequestHandle
from glm_gguf.engine.scheduler import Scheduler
from glm_gguf.errors import EngineError, as_engine_error
from glm_gguf.llama.context import Context

T = TypeVar("T")


class Task(Protocol):
    """Work for the time between two steps."""

    def begin(self, scheduler: Scheduler, context: Context) -> None:
        """Do it, or queue it."""

    def refuse(self, error: EngineError) -> None:
        """Tell the waiting caller that it will not be done."""


class NewRequest:
    """A request for the scheduler's queue."""

    def __init__(self, handle: RequestHandle) -> None:
        self._handle = handle

    def begin(self, scheduler: Scheduler, _: Context) -> None:
        """Queue it."""
        scheduler.add(self._handle)

    def refuse(self, error: EngineError) -> None:
        """End the answer with the error."""
        self._handle.deliver(AnswerFailed(error))


class NewPromptJob:
    """A text to embed or score."""

    def __init__(self, job: PromptJob[Any]) -> None:
        self._job = job

    def begin(self, scheduler: Scheduler, _: Context) -> None:
        """Queue it."""
        scheduler.add_job(self._job)

    def refuse(self, error: EngineError) -> None:
        """End it with the error."""
        self._job.fail(error)


class Call(Generic[T]):
    """A function to run; `result` gets its value, or its error."""

    def __init__(self, function: Callable[[Scheduler, Context], T]) -> None:
        self._function = function
        self.result: Future[T] = Future()
        self.result.set_running_or_notify_cancel()

    def begin(self, scheduler: Scheduler, context: Context) -> None:
        """Run it."""
        try:
            value = self._function(scheduler, context)
        except BaseException as error:  # the caller's own
            self.result.set_exception(as_engine_error(error))
        else:
            self.result.set_result(value)

    def refuse(self, error: EngineError) -> None:
        """End it with the error."""
        self.result.set_exception(error)
