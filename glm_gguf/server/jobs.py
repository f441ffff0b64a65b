"""Jobs that would block the event loop: they run on threads, a limited number at once."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

from glm_gguf.server.problem import Refused, full_queue

T = TypeVar("T")
THREADS: Final = 8
UNRAISABLE: Final = (
    *(StopIteration, StopAsyncIteration, GeneratorExit, KeyboardInterrupt, SystemExit),
    *(asyncio.CancelledError, concurrent.futures.CancelledError),
)
"""Exceptions that a future cannot deliver, or that would end more than the job: a StopIteration never arrives."""


class Jobs:
    """A pool of threads with a limit of open jobs; every job delivers its value or its error."""

    def __init__(self, name: str, most: int, what: str = "requests are being prepared") -> None:
        """`what` is said of as many as `most`."""
        self._pool = ThreadPoolExecutor(THREADS, name)
        self._most, self._what = most, what
        self._open: set[Future[Any]] = set()

    async def run(self, job: Callable[[], T], drop: Callable[[T], None] | None = None) -> T:
        """Run a job; Refused (429) if too many are open.

        If the caller is cancelled, the job leaves the queue, or `drop` receives its value.
        """
        if len(self._open) >= self._most:
            message = f"{self._most} {self._what} already; try again later."
            raise Refused(full_queue(message))
        future = self._pool.submit(_run, job)
        self._open.add(future)
        future.add_done_callback(self._open.discard)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if drop is not None:
                future.add_done_callback(partial(_drop_value, drop))
            raise

    def close(self, seconds: float) -> bool:
        """Start no more jobs; return whether the running ones ended within `seconds`."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        return not concurrent.futures.wait(list(self._open), seconds).not_done


def _run(job: Callable[[], T]) -> T:
    """Run a job; RuntimeError in place of an exception that a future cannot deliver."""
    try:
        return job()
    except UNRAISABLE as error:
        raise RuntimeError(f"a job ended with {type(error).__name__}") from error


def _drop_value(drop: Callable[[T], None], future: Future[T]) -> None:
    """Pass an abandoned job's value to `drop`."""
    if not future.cancelled() and future.exception() is None:
        drop(future.result())
