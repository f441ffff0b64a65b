"""What the event loop must not do itself: jobs on threads, of which so many may be under way at once."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

from glm_gguf.server.problem import RETRY_SECONDS, Problem, Refused

T = TypeVar("T")
THREADS: Final = 8
STRANGE: Final = (
    *(StopIteration, StopAsyncIteration, GeneratorExit, KeyboardInterrupt, SystemExit),
    *(asyncio.CancelledError, concurrent.futures.CancelledError),
)
"""What a future cannot hold, or what would end more than the job: a StopIteration would never reach who waits."""


class Jobs:
    """Threads of one kind; every job ends in its value or in an error, or nobody waits for it any more."""

    def __init__(self, name: str, most: int) -> None:
        self._pool = ThreadPoolExecutor(THREADS, name)
        self._most = most
        self._open: set[Future[Any]] = set()

    async def run(self, job: Callable[[], T], drop: Callable[[T], None] | None = None) -> T:
        """Do a job; Refused with 429 where too many are under way.

        Whoever is cancelled leaves the job behind: it is taken out of the line, or `drop` gets what it returns.
        """
        if len(self._open) >= self._most:
            message = f"{self._most} requests are being prepared already; try again later."
            raise Refused(
                Problem(429, message, "rate_limit_error", code="rate_limit_exceeded", retry_after=RETRY_SECONDS)
            )
        future = self._pool.submit(_ended, job)
        self._open.add(future)
        future.add_done_callback(self._open.discard)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if drop is not None:
                future.add_done_callback(partial(_dropped, drop))
            raise

    def close(self, seconds: float) -> bool:
        """Begin no more jobs; tell whether those under way ended within a time."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        return not concurrent.futures.wait(list(self._open), seconds).not_done


def _ended(job: Callable[[], T]) -> T:
    """Do a job; RuntimeError for what it must not raise."""
    try:
        return job()
    except STRANGE as error:
        raise RuntimeError(f"a job ended with {type(error).__name__}") from error


def _dropped(drop: Callable[[T], None], future: Future[T]) -> None:
    """Hand on what nobody waits for."""
    if not future.cancelled() and future.exception() is None:
        drop(future.result())
