"""Run the calls of one answer in parallel, on threads or in an event loop; the model is told their errors."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import math
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from glm_gguf.chat.events import ToolCall
from glm_gguf.chat.tools import Toolbox, beside, error_text
from glm_gguf.errors import RequestError, in_one_line
from glm_gguf.loop_thread import LoopThread
from glm_gguf.run_options import Approval, RunOptions


class CallRunner:
    """Runs calls for callers without an event loop. Their coroutines share one loop, on a thread of its own."""

    def __init__(self, toolbox: Toolbox, options: RunOptions) -> None:
        self._toolbox = toolbox
        self._options = options
        self._loop: LoopThread | None = None
        self._lock = threading.Lock()
        self._closed = False

    def run(self, calls: Sequence[ToolCall]) -> list[str]:
        """Run the calls of one answer in parallel; return their observations in order, errors included."""
        runs = [self._started(call) for call in calls]
        return [self._observation(one, call) for one, call in zip(runs, calls, strict=True)]

    def close(self) -> None:
        """Cancel the coroutines that still run."""
        with self._lock:
            self._closed = True
            if self._loop is not None:
                self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _started(self, call: ToolCall) -> _Run | None:
        """Start a call on its own thread; None if it is not approved."""
        if self._options.approve is not None:
            approved = self._options.approve(call)
            if not _is_approved(self._submitted(approved).result() if inspect.isawaitable(approved) else approved):
                return None
        one = _Run(call, self._toolbox, self._submitted)
        one.thread.start()
        return one

    def _submitted(self, result: Awaitable[Any]) -> Future[Any]:
        """Await something on the shared loop."""
        with self._lock:
            if self._closed:  # of a function that took too long
                if inspect.iscoroutine(result):
                    result.close()
                raise RuntimeError("the run has ended")
            if self._loop is None:
                self._loop = LoopThread("tools' event loop")
            return self._loop.submit(_awaited(result))

    def _observation(self, one: _Run | None, call: ToolCall) -> str:
        if one is None:
            return _refused(call)
        timeout = self._options.timeout
        left = math.inf if timeout is None else max(one.start + timeout - time.monotonic(), 0)
        one.thread.join(min(left, threading.TIMEOUT_MAX))
        if one.observation is not None:
            return one.observation
        if one.thread.is_alive():
            one.cancel()
            return _too_long(call, timeout)
        return error_text(f"{call.name} ended without a result")  # by SystemExit, for example


def run_calls(calls: Sequence[ToolCall], toolbox: Toolbox, options: RunOptions) -> list[str]:
    """Run the calls of one answer in parallel; return their observations in order, errors included."""
    with CallRunner(toolbox, options) as runner:
        return runner.run(calls)


async def arun_calls(calls: Sequence[ToolCall], toolbox: Toolbox, options: RunOptions) -> list[str]:
    """Do what `run_calls` does in an event loop: coroutines run on it, other functions on threads."""
    asked = [(call, await _approved(call, options.approve)) for call in calls]
    runs = (_arun(call, toolbox, options.timeout) if approved else _done(_refused(call)) for call, approved in asked)
    return await asyncio.gather(*runs)


class _Run:
    """One call on its own thread; `observation` is None until it ends."""

    def __init__(self, call: ToolCall, toolbox: Toolbox, submit: Callable[[Awaitable[Any]], Future[Any]]) -> None:
        self.observation: str | None = None
        self.start = time.monotonic()
        self._call = call
        self._toolbox = toolbox
        self._submit = submit
        self._awaited: Future[Any] | None = None
        context = contextvars.copy_context()
        self.thread = threading.Thread(target=context.run, args=(self._work,), name=f"tool {call.name}", daemon=True)

    def cancel(self) -> None:
        """Cancel the call if it is a coroutine."""
        if self._awaited is not None:
            self._awaited.cancel()

    def _work(self) -> None:
        """Run the user's function, which may raise anything: the model is told."""
        try:
            self.observation = self._toolbox.answer(self._call, self._wait)
        except Exception as error:
            self.observation = _failed(error)
        except BaseException as error:  # SystemExit, for example: it ends this call, not the program
            what = f"{self._call.name} ended without a result, by {type(error).__name__}"
            self.observation = error_text(what)

    def _wait(self, result: Awaitable[Any]) -> Any:
        self._awaited = self._submit(result)
        return self._awaited.result()


async def _awaited(result: Awaitable[Any]) -> Any:
    try:
        return await result
    except (SystemExit, KeyboardInterrupt) as error:  # either would end the loop, and all other calls with it
        raise RuntimeError(f"it ended by {type(error).__name__}") from error


async def _approved(call: ToolCall, approve: Approval | None) -> bool:
    """Ask whether a call may run, on a thread: a question in the terminal must not block the loop."""
    if approve is None:
        return True
    answer = approve(call) if inspect.iscoroutinefunction(approve) else await beside(lambda: approve(call))
    return _is_approved(await answer if inspect.isawaitable(answer) else answer)


def _is_approved(answer: object) -> bool:
    """Return whether a call may run; RequestError for a text: "n", as input() returns it, would count as true."""
    if isinstance(answer, str | bytes):
        raise RequestError(f"it returned the text {answer[:40]!r}", field="approve", fix="return True or False")
    return bool(answer)


async def _arun(call: ToolCall, toolbox: Toolbox, timeout: float | None) -> str:
    """Run the user's function, which may raise anything: the model is told."""
    task = asyncio.current_task()
    try:
        async with asyncio.timeout(timeout) as limit:
            return await toolbox.aanswer(call)
    except asyncio.CancelledError:
        if task is not None and task.cancelling():
            raise
        return error_text(f"{call.name} was cancelled")
    except (Exception, SystemExit) as error:
        return _too_long(call, timeout) if limit.expired() else _failed(error)


async def _done(text: str) -> str:
    return text


def _failed(error: BaseException) -> str:
    return error_text(in_one_line(error))


def _refused(call: ToolCall) -> str:
    return error_text(f"the call of {call.name} was not approved")


def _too_long(call: ToolCall, timeout: float | None) -> str:
    return error_text(f"{call.name} took longer than {timeout} seconds")
