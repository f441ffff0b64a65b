"""An answer written, and written again where it does not meet what no grammar enforces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol, Self

from glm_gguf.chat.answer_plan import AnswerPlan
from glm_gguf.chat.events import Event, Finish, collect
from glm_gguf.engine.answer import Answer
from glm_gguf.engine.answer_stream import AnswerStream, answer_events
from glm_gguf.engine.engine import Engine
from glm_gguf.engine.request import Request
from glm_gguf.engine.sampling import OFFICIAL_DEMO, RANDOM_SEED, SamplingParams
from glm_gguf.errors import EngineError

MOST_ATTEMPTS = 4


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


@dataclass(frozen=True, slots=True)
class Attempts:
    """How to begin an answer, for the n-th time, and what it must meet."""

    begin: Callable[[int], tuple[Request, Answer]]
    plan: AnswerPlan

    def stream(self, engine: Engine, owner: object) -> EventStream:
        """Write the answer; where it must be checked, its events are held back until it is."""
        if not self.plan.checked:
            return AnswerStream(engine, *self.begin(0), owner)
        return _CheckedStream(self, engine, owner)

    async def events(self, engine: Engine) -> AsyncIterator[Event]:
        """Write the answer in an event loop."""
        if not self.plan.checked:
            async for event in answer_events(engine, *self.begin(0)):
                yield event
            return
        for number in range(MOST_ATTEMPTS):
            written = [event async for event in answer_events(engine, *self.begin(number))]
            if (judged := self.judged(written, number)) is not None:
                for event in judged:
                    yield event
                return

    def judged(self, written: Sequence[Event], number: int) -> list[Event] | None:
        """Return the events of an answer that is as it must be; None where it is to be written again.

        What was cut before it was whole is returned as it is. EngineError behind the last attempt.
        """
        result = collect(written)
        cut = result.finish_reason in ("length", "timeout") and not result.tool_calls
        problem = None if cut else self.plan.problem(result)
        if problem is None:
            return [self._told(event, number) for event in written]
        if number + 1 == MOST_ATTEMPTS:
            raise EngineError(
                f"after {MOST_ATTEMPTS} attempts the answer does not fit: {problem}",
                where=self.plan.unenforced,
                fix="ask in another way, or leave the keyword out",
            )
        return None

    def _told(self, event: Event, number: int) -> Event:
        if isinstance(event, Finish):
            return replace(event, attempts=number + 1, unenforced=self.plan.unenforced)
        return event


class _CheckedStream:
    """The events of the first attempt that is as it must be."""

    def __init__(self, attempts: Attempts, engine: Engine, owner: object) -> None:
        self._attempts = attempts
        self._engine = engine
        self._owner = owner
        self._current: AnswerStream | None = AnswerStream(engine, *attempts.begin(0), owner)
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
            self._current = AnswerStream(self._engine, *self._attempts.begin(number), self._owner)
        return []

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
