"""What other threads want of the engine's thread: each is begun there, or refused, and whoever waits for it is told."""

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
    """Something to do between two steps."""

    def begin(self, scheduler: Scheduler, context: Context) -> None:
        """Do it, or put it in line."""

    def refuse(self, error: EngineError) -> None:
        """Tell whoever waits for it that it will not be done."""


class NewRequest:
    """A request to put in line."""

    def __init__(self, handle: RequestHandle) -> None:
        self._handle = handle

    def begin(self, scheduler: Scheduler, _: Context) -> None:
        """Put it in line."""
        scheduler.add(self._handle)

    def refuse(self, error: EngineError) -> None:
        """End the answer."""
        self._handle.deliver(AnswerFailed(error))


class NewPromptJob:
    """A text to embed or score."""

    def __init__(self, job: PromptJob[Any]) -> None:
        self._job = job

    def begin(self, scheduler: Scheduler, _: Context) -> None:
        """Put it in line."""
        scheduler.add_job(self._job)

    def refuse(self, error: EngineError) -> None:
        """Fail it."""
        self._job.fail(error)


class Call(Generic[T]):
    """A function to run; `result` is what it returns, or the error that it raises."""

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
        """Fail it."""
        self.result.set_exception(error)
