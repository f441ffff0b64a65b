"""An answer ready to start; the model writes it again if it breaks a rule that no grammar enforces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol, Self

from glm_gguf.answers.answer_reader import AnswerReader
from glm_gguf.answers.answer_stream import AnswerStream, AsyncAnswerStream, Mark, Steps
from glm_gguf.chat.answer_plan import AnswerPlan
from glm_gguf.chat.events import Event, Finish, PrefillProgress, collect
from glm_gguf.engine.delivery import Delivery
from glm_gguf.engine.engine import Engine
from glm_gguf.engine.request import Request
from glm_gguf.errors import UnmetFormatError
from glm_gguf.llama.sampling_params import OFFICIAL_DEMO, RANDOM_SEED, SamplingParams

MOST_ATTEMPTS = 4
MakeAttempt = Callable[[SamplingParams], tuple[Request, AnswerReader]]
"""Makes the request of one attempt, and the reader of its tokens."""


def retry_sampling(sampling: SamplingParams, number: int) -> SamplingParams:
    """Return the sampling of attempt `number`: a retry has another seed, and is never greedy."""
    if number == 0:
        return sampling
    seed = None if sampling.seed is None else (sampling.seed + number) % RANDOM_SEED
    return replace(sampling, seed=seed, temperature=sampling.temperature or OFFICIAL_DEMO.temperature)


class EventStream(Protocol):
    """The events of a running answer, from `stream`; closing it stops the model. The last event is Finish."""

    def __iter__(self) -> Iterator[Event]: ...

    def __next__(self) -> Event: ...

    def close(self) -> None:
        """Stop the answer; the iterator ends."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class AsyncEvents(Protocol):
    """The same events in an event loop."""

    @property
    def prompt_tokens(self) -> int:
        """Length of the prompt in tokens."""

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Event: ...

    def close(self) -> None:
        """Stop the answer; the iterator ends."""


@dataclass(frozen=True, slots=True)
class PreparedAnswer:
    """An answer ready to start, from `prepare` or `continuation`; the engine has no request of it yet."""

    engine: Engine
    make_attempt: MakeAttempt
    sampling: SamplingParams
    plan: AnswerPlan
    prompt_tokens: int
    """Length of the prompt in tokens."""

    def for_choice(self, index: int) -> PreparedAnswer:
        """Return the answer for choice number `index` of several: its seed is higher by `index`."""
        seed = self.sampling.seed
        return (
            self if seed is None else replace(self, sampling=replace(self.sampling, seed=(seed + index) % RANDOM_SEED))
        )

    def stream(self, owner: object) -> EventStream:
        """Start the answer. If it needs a check at its end, no event comes before that.

        `owner`, a GLM, stays open as long as the stream is held. Raises QueueFullError.
        """
        return AnswerStream(self.engine, self._steps(), owner)

    def events(self, loop: asyncio.AbstractEventLoop) -> AsyncEvents:
        """Start the answer for an event loop, as `stream` does for a thread. Any thread may call this."""
        return AsyncAnswerStream(self.engine, self._steps(), self.prompt_tokens, loop)

    def _steps(self) -> Steps:
        """Make attempts until one meets the plan; UnmetFormatError after the last."""
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
        """Say what is wrong with an answer; None if it fits or was cut off."""
        result = collect(written)
        cut = result.finish_reason in ("length", "timeout") and not result.tool_calls
        return None if cut else self.plan.problem(result)

    def _finished(self, event: Event, number: int) -> Event:
        """Add the number of attempts and the checked keyword to the last event."""
        if isinstance(event, Finish):
            return replace(event, attempts=number + 1, unenforced=self.plan.unenforced)
        return event


def _read(reader: AnswerReader, delivery: Delivery, *, hold: bool) -> Generator[Sequence[Event], Delivery, list[Event]]:
    """Read an answer to its end. Return its last events, or all but those of the prefill if `hold` kept them back."""
    held: list[Event] = []
    events = list(reader.feed(delivery))
    while not reader.done:
        if hold:
            held += [event for event in events if not isinstance(event, PrefillProgress)]
            events = [event for event in events if isinstance(event, PrefillProgress)]
        events = list(reader.feed((yield events)))
    return held + events
