"""An answer written, and written again where it does not meet what no grammar enforces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol, Self

from glm_gguf.answers.answer_reader import Answer
from glm_gguf.answers.answer_stream import AnswerStream, AsyncAnswer
from glm_gguf.chat.answer_plan import AnswerPlan
from glm_gguf.chat.events import Event, Finish, collect
from glm_gguf.engine.engine import Engine
from glm_gguf.engine.request import Request
from glm_gguf.errors import UnmetFormatError
from glm_gguf.llama.sampling_params import OFFICIAL_DEMO, RANDOM_SEED, SamplingParams

MOST_ATTEMPTS = 4
Begin = Callable[[SamplingParams], tuple[Request, Answer]]
"""Makes the request for one attempt, and the reader of what comes."""


def again(sampling: SamplingParams, number: int) -> SamplingParams:
    """Return the sampling of the n-th attempt: another seed, and never the likeliest tokens again."""
    if number == 0:
        return sampling
    seed = None if sampling.seed is None else (sampling.seed + number) % RANDOM_SEED
    return replace(sampling, seed=seed, temperature=sampling.temperature or OFFICIAL_DEMO.temperature)


class EventStream(Protocol):
    """The events of an answer that is being written; closing it stops the model."""

    def __iter__(self) -> Iterator[Event]: ...

    def __next__(self) -> Event: ...

    def close(self) -> None:
        """Stop the answer; nothing more comes."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class AsyncEvents(Protocol):
    """The same in an event loop."""

    @property
    def prompt_tokens(self) -> int:
        """How long the prompt is."""

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Event: ...

    def close(self) -> None:
        """Stop the answer; nothing more comes."""


@dataclass(frozen=True, slots=True)
class PreparedAnswer:
    """An answer that can be begun: how, for the n-th time, and what it must meet. Nothing is in line yet."""

    engine: Engine
    begin: Begin
    sampling: SamplingParams
    plan: AnswerPlan

    def choice(self, index: int) -> PreparedAnswer:
        """Return another answer to the same prompt: a seed is counted up."""
        seed = self.sampling.seed
        return (
            self if seed is None else replace(self, sampling=replace(self.sampling, seed=(seed + index) % RANDOM_SEED))
        )

    def stream(self, owner: object) -> EventStream:
        """Write the answer; where it must be checked, its events are held back until it is."""
        if not self.plan.checked:
            return AnswerStream(self.engine, *self.attempt(0), owner)
        return _CheckedStream(self, owner)

    def events(self, loop: asyncio.AbstractEventLoop) -> AsyncEvents:
        """Write the answer for an event loop; any thread may call this."""
        if not self.plan.checked:
            return AsyncAnswer(self.engine, *self.attempt(0), loop)
        return _CheckedEvents(self, loop)

    def attempt(self, number: int) -> tuple[Request, Answer]:
        """Make the request for an answer, and the reader of what comes."""
        return self.begin(again(self.sampling, number))

    def judged(self, written: Sequence[Event], number: int) -> list[Event] | None:
        """Return the events of an answer that is as it must be; None where it is to be written again.

        What was cut before it was whole is returned as it is. UnmetFormatError behind the last attempt.
        """
        result = collect(written)
        cut = result.finish_reason in ("length", "timeout") and not result.tool_calls
        problem = None if cut else self.plan.problem(result)
        if problem is None:
            return [self._told(event, number) for event in written]
        if number + 1 == MOST_ATTEMPTS:
            raise UnmetFormatError(
                f"after {MOST_ATTEMPTS} attempts the answer does not fit: {problem}",
                field=self.plan.unenforced,
                fix="ask in another way, or leave the keyword out",
            )
        return None

    def _told(self, event: Event, number: int) -> Event:
        if isinstance(event, Finish):
            return replace(event, attempts=number + 1, unenforced=self.plan.unenforced)
        return event


class _CheckedStream:
    """The events of the first attempt that is as it must be."""

    def __init__(self, attempts: PreparedAnswer, owner: object) -> None:
        self._attempts = attempts
        self._owner = owner
        self._current: AnswerStream | None = self._begun(0)
        self._events: Iterator[Event] | None = None

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        if self._events is None:
            self._events = iter(self._written())
        return next(self._events)

    def _written(self) -> list[Event]:
        """Write until an attempt is as it must be."""
        number = 0
        while self._current is not None:
            judged = self._attempts.judged(list(self._current), number)
            if judged is not None:
                return judged
            number += 1
            self._current = self._begun(number)
        return []

    def _begun(self, number: int) -> AnswerStream:
        return AnswerStream(self._attempts.engine, *self._attempts.attempt(number), self._owner)

    def close(self) -> None:
        """Stop the answer; nothing more comes."""
        current, self._current = self._current, None
        self._events = iter(())
        if current is not None:
            current.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _CheckedEvents:
    """The same in an event loop."""

    def __init__(self, attempts: PreparedAnswer, loop: asyncio.AbstractEventLoop) -> None:
        self._attempts = attempts
        self._loop = loop
        self._current: AsyncAnswer | None = self._begun(0)
        self.prompt_tokens = self._current.prompt_tokens
        self._events: Iterator[Event] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self._events is None:
            self._events = iter(await self._written())
        event = next(self._events, None)
        if event is None:
            raise StopAsyncIteration
        return event

    async def _written(self) -> list[Event]:
        """Write until an attempt is as it must be."""
        number = 0
        while self._current is not None:
            written = [event async for event in self._current]
            judged = await asyncio.to_thread(self._attempts.judged, written, number)
            if judged is not None:
                return judged
            number += 1
            self._current = await asyncio.to_thread(self._begun, number)
        return []

    def _begun(self, number: int) -> AsyncAnswer:
        return AsyncAnswer(self._attempts.engine, *self._attempts.attempt(number), self._loop)

    def close(self) -> None:
        """Stop the answer; nothing more comes."""
        current, self._current = self._current, None
        self._events = iter(())
        if current is not None:
            current.close()
