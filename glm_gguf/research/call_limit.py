"""How long a corpus of tools waits for a call: a minute, within the request's time, while its client is there."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Awaitable
from typing import Any, Final

from glm_gguf.errors import CorpusError, DeadlineError

CALL_SECONDS: Final = 60.0
POLL: Final = 0.1
"""Seconds after which a call sees that nobody waits for it any more."""


class CallLimit:
    """Bounds the calls of one research to `seconds` for all of them; after `stop` is set, none goes on."""

    def __init__(
        self, seconds: float | None = None, stop: threading.Event | None = None, call_seconds: float = CALL_SECONDS
    ) -> None:
        self._end = math.inf if seconds is None else time.monotonic() + seconds
        self._stop = threading.Event() if stop is None else stop
        self._call_seconds = call_seconds

    async def awaited(self, call: Awaitable[Any]) -> Any:
        """Wait for a call, and cancel it at a limit: CorpusError at its own, DeadlineError when all time is over."""
        task = asyncio.ensure_future(call)
        call_end = time.monotonic() + self._call_seconds
        while not task.done() and not self._stop.is_set():
            left = min(call_end, self._end) - time.monotonic()
            if left <= 0:
                break
            await asyncio.wait({task}, timeout=min(left, POLL))
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait({task}, timeout=1)
        if self._stop.is_set():
            raise CorpusError("nobody waits for the call any more")
        if self._end <= call_end:
            raise DeadlineError("the time limit passed while a tool was called", fix="give a larger timeout")
        raise CorpusError(f"the tool did not answer within {self._call_seconds:g} seconds")
