"""An answer ready to be written, and written again where it does not meet what no grammar enforces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol, Self

from glm_gguf.answers.answer_reader import AnswerReader
from glm_gguf.answers.answer_stream import AnswerStream, AsyncAnswerStream, Mark, Steps
from glm_gguf.chat.answer_plan import AnswerPlan
from glm_gguf.chat.events import Event, Finish, collect
from glm_gguf.engine.delivery import Delivery
from glm_gguf.engine.engine import Engine
from glm_gguf.engine.request import Request
from glm_gguf.errors import UnmetFormatError
from glm_gguf.llama.sampling_params import OFFICIAL_DEMO, RANDOM_SEED, SamplingParams

MOST_ATTEMPTS = 4
MakeAttempt = Callable[[SamplingParams], tuple[Request, AnswerReader]]
"""Makes the request for one attempt, and the reader of what comes."""


def retry_sampling(sampling: SamplingParams, number: int) -> SamplingParams:
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
    make_attempt: MakeAttempt
    sampling: SamplingParams
    plan: AnswerPlan
    prompt_tokens: int
    """How long the prompt is."""

    def for_choice(self, index: int) -> PreparedAnswer:
        """Return another answer to the same prompt: a seed is counted up."""
        seed = self.sampling.seed
        return (
            self if seed is None else replace(self, sampling=replace(self.sampling, seed=(seed + index) % RANDOM_SEED))
        )

    def stream(self, owner: object) -> EventStream:
        """Write the answer; where it must be checked, its events are held back until it is."""
        return AnswerStream(self.engine, self._steps(), owner)

    def events(self, loop: asyncio.AbstractEventLoop) -> AsyncEvents:
        """Write the answer for an event loop; any thread may call this."""
        return AsyncAnswerStream(self.engine, self._steps(), self.prompt_tokens, loop)

    def _steps(self) -> Steps:
        """Write attempts until one meets the plan; UnmetFormatError after the last."""
        for number in range(MOST_ATTEMPTS):
            request, reader = self.make_attempt(retry_sampling(self.sampling, number))
            written = yield from _read(reader, (yield request), hold=self.plan.checked)
            if not self.plan.checked:
                return written
            yield Mark.ATTEMPT_ENDED
            problem = self._problem(written)
            if problem is None:
                return [self._finished(event, number) for event in written]
        raise UnmetFormatError(
            f"after {MOST_ATTEMPTS} attempts the answer does not fit: {problem}",
            field=self.plan.unenforced,
            fix="ask in another way, or leave the keyword out",
        )

    def _problem(self, written: Sequence[Event]) -> str | None:
        """Say what the grammar could not prevent; None for an answer that fits, and for one that was cut."""
        result = collect(written)
        cut = result.finish_reason in ("length", "timeout") and not result.tool_calls
        return None if cut else self.plan.problem(result)

    def _finished(self, event: Event, number: int) -> Event:
        """Add to the last event how many attempts there were, and what was checked behind them."""
        if isinstance(event, Finish):
            return replace(event, attempts=number + 1, unenforced=self.plan.unenforced)
        return event


def _read(reader: AnswerReader, delivery: Delivery, *, hold: bool) -> Generator[Sequence[Event], Delivery, list[Event]]:
    """Read an answer to its end; return its last events, or all of them where they are held back."""
    events = list(reader.feed(delivery))
    while not reader.done:
        now, events = ([], events) if hold else (events, [])
        events += reader.feed((yield now))
    return events
