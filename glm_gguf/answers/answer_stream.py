"""Answers as iterators, for threads and for event loops; closing one stops the model."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from enum import Enum
from queue import SimpleQueue
from types import TracebackType
from typing import Generic, Self, TypeVar

from glm_gguf.chat.events import Event
from glm_gguf.engine.delivery import Delivery
from glm_gguf.engine.engine import Engine
from glm_gguf.engine.request import Request, RequestHandle

T = TypeVar("T")


class Mark(Enum):
    """A step of an answer that neither submits a request nor has events."""

    ATTEMPT_ENDED = "the request is over; the next step checks the answer and is slow"


Steps = Generator[Request | Sequence[Event] | Mark, Delivery, Sequence[Event]]
"""The steps of an answer, the same for every driver; the generator returns the last events.

The driver submits each Request and sends its deliveries in. The generator yields the events of each delivery. After
`ATTEMPT_ENDED` the driver sends in nothing.
"""
Channel = tuple[Callable[[], T], Callable[[Delivery], None]]
"""How a driver receives the deliveries of one request, and how the engine's thread sends them."""


class _RunningAnswer(Generic[T]):
    """The running request of an answer, and the events that nobody has read yet. Any thread may stop it.

    Each request has its own channel: the end of a cancelled request must not reach the next one.
    """

    def __init__(self, engine: Engine, steps: Steps, open_channel: Callable[[], Channel[T]]) -> None:
        self.receive: Callable[[], T]
        self.slow = False
        """The next step takes no delivery, and takes long."""
        self._engine = engine
        self._steps = steps
        self._open_channel = open_channel
        self._ready: deque[Event] = deque()
        self._handle: RequestHandle | None = None
        self._over = False
        self._stopped = False
        self.advance()

    @property
    def waiting(self) -> bool:
        """The next event needs another step."""
        return not (self._ready or self._over)

    def advance(self, delivery: Delivery | None = None) -> None:
        """Take the next step, with a delivery unless it is the first or a slow one."""
        try:
            step = next(self._steps) if delivery is None else self._steps.send(delivery)
            self.slow = step is Mark.ATTEMPT_ENDED
            if isinstance(step, Request):
                self._submit(step)
            elif isinstance(step, Mark):
                self._cancel()
            else:
                self._ready.extend(step)
        except StopIteration as end:
            self._ready.extend(end.value or ())
            self._end()
        except BaseException:
            self._end()
            raise

    def event(self) -> Event | None:
        """Return the next event; None at the end."""
        return self._ready.popleft() if self._ready and not self._stopped else None

    def check_caller(self) -> None:
        """Raise EngineError where this thread would wait for ever."""
        self._engine.check_caller()

    def stop(self) -> None:
        """Stop the answer at the engine's next step; nothing more comes."""
        self._stopped = True
        self._end()

    def _submit(self, request: Request) -> None:
        self.receive, deliver = self._open_channel()
        self._handle = self._engine.submit(request, deliver)
        if self._over:  # another thread stopped the answer meanwhile
            self._cancel()

    def _end(self) -> None:
        self._over = True
        self._cancel()

    def _cancel(self) -> None:
        if self._handle is not None:
            self._engine.cancel(self._handle)

    def __del__(self) -> None:
        self._end()


class AnswerStream:
    """The events of an answer, whose request it submits at once. Threads that share it take turns.

    It keeps `owner`, which closes the engine, from being collected while somebody reads.
    """

    def __init__(self, engine: Engine, steps: Steps, owner: object) -> None:
        self._answer = _RunningAnswer(engine, steps, _open_queue)
        self._turn = threading.Lock()
        self._owner = owner

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        answer = self._answer
        if answer.waiting:  # before the lock, which a fork may leave locked
            answer.check_caller()
        with self._turn:
            while answer.waiting:
                answer.advance(None if answer.slow else answer.receive())
            event = answer.event()
        if event is None:
            raise StopIteration
        return event

    def close(self) -> None:
        """Stop the answer at the engine's next step; nothing more comes."""
        self._answer.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncAnswerStream:
    """The same events for an event loop. Any thread may create it; the loop reads it."""

    def __init__(self, engine: Engine, steps: Steps, prompt_tokens: int, loop: asyncio.AbstractEventLoop) -> None:
        self.prompt_tokens = prompt_tokens
        self._answer = _RunningAnswer(engine, steps, lambda: _open_loop_queue(loop))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        answer = self._answer
        while answer.waiting:
            answer.check_caller()
            if answer.slow:
                await asyncio.to_thread(answer.advance)
            else:
                answer.advance(await answer.receive())
        event = answer.event()
        if event is None:
            raise StopAsyncIteration
        return event

    def close(self) -> None:
        """Stop the answer at the engine's next step; nothing more comes."""
        self._answer.stop()


def _open_queue() -> Channel[Delivery]:
    queue: SimpleQueue[Delivery] = SimpleQueue()
    return queue.get, queue.put


def _open_loop_queue(loop: asyncio.AbstractEventLoop) -> Channel[Awaitable[Delivery]]:
    """Open a channel into a loop. Its `deliver` must not refer to the answer, or a forgotten answer would go on."""
    queue: asyncio.Queue[Delivery] = asyncio.Queue()

    def deliver(delivery: Delivery) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, nobody reads
            loop.call_soon_threadsafe(queue.put_nowait, delivery)

    return queue.get, deliver
