"""An answer as an iterator, for threads and for event loops; closing it stops the model."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType
from typing import Final, Self

from glm_gguf.answers.answer_reader import Answer
from glm_gguf.chat.events import Event
from glm_gguf.engine.delivery import Delivery, Ended
from glm_gguf.engine.engine import Engine
from glm_gguf.engine.request import Request

_WAKE: Final = Ended("stop")
"""For other threads that wait at the end of an answer: not the end itself, whose error leads back to the stream."""


class AnswerStream:
    """The events of an answer that is being written from now on; one thread at a time reads it, others wait at its end.

    `owner` is what closes the engine, and must not be collected before the answer is read.
    """

    def __init__(self, engine: Engine, request: Request, answer: Answer, owner: object) -> None:
        self._engine = engine
        self._owner = owner
        self._answer = answer
        self._ready: deque[Event] = deque()
        self._deliveries: SimpleQueue[Delivery] = SimpleQueue()
        self._closed = False
        self._ticket = engine.submit(request, self._deliveries.put)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        while not self._ready:
            if self._answer.done or self._closed:
                raise StopIteration
            self._engine.check_caller()
            delivery = self._deliveries.get()
            if self._answer.done:  # another thread has read the end
                self._deliveries.put(_WAKE)
                continue
            try:
                self._ready.extend(self._answer.feed(delivery))
            finally:
                if self._answer.done:
                    self._engine.cancel(self._ticket)
                    self._deliveries.put(_WAKE)
        return self._ready.popleft()

    def close(self) -> None:
        """Stop the answer at the engine's next step; nothing more comes."""
        self._closed = True
        self._ready.clear()
        self._engine.cancel(self._ticket)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_ticket"):  # else it was refused
            self.close()


class AsyncAnswer:
    """The same for an event loop, which reads it; any thread may begin it."""

    def __init__(self, engine: Engine, request: Request, answer: Answer, loop: asyncio.AbstractEventLoop) -> None:
        self._engine = engine
        self._answer = answer
        self._ready: deque[Event] = deque()
        self._deliveries: asyncio.Queue[Delivery] = asyncio.Queue()
        self._closed = False
        self._ticket = engine.submit(request, _into(self._deliveries, loop))

    @property
    def prompt_tokens(self) -> int:
        """How long the prompt is."""
        return self._answer.prompt_tokens

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._ready:
            if self._answer.done or self._closed:
                raise StopAsyncIteration
            self._engine.check_caller()
            delivery = await self._deliveries.get()
            try:
                self._ready.extend(self._answer.feed(delivery))
            finally:
                if self._answer.done:
                    self._engine.cancel(self._ticket)
        return self._ready.popleft()

    def close(self) -> None:
        """Stop the answer at the engine's next step; nothing more comes."""
        self._closed = True
        self._ready.clear()
        self._engine.cancel(self._ticket)

    def __del__(self) -> None:
        if hasattr(self, "_ticket"):  # else it was refused
            self.close()


def _into(deliveries: asyncio.Queue[Delivery], loop: asyncio.AbstractEventLoop) -> Callable[[Delivery], None]:
    """Return what the engine's thread calls; it must not hold the answer, which stops where nobody holds it."""

    def deliver(delivery: Delivery) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(deliveries.put_nowait, delivery)

    return deliver
