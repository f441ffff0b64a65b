"""Researches and texts from a search under way, each on a thread; its events go into the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager, aclosing, closing
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, TypeVar

from fastapi import Request

from glm_gguf.research.call_limit import CallLimit
from glm_gguf.research.corpus import Corpus
from glm_gguf.research.research_sources import ResearchSources
from glm_gguf.server.jobs import Jobs
from glm_gguf.server.limits import Limits
from glm_gguf.server.problem import Problem, Refused
from glm_gguf.server.streams.sse import unless_gone

NO_SOURCES: Final = "this server has nothing to search; it is started with --research-sources for that."
E = TypeVar("E")
"""Events of what is made: of a research, or of a text from a search."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What ended before its last event: its client left, or an error was raised."""

    why: Literal["abandoned", "failed"]


class Researches:
    """Researches questions in the sources of the server, a limited number at once."""

    def __init__(
        self, sources: ResearchSources | None, limits: Limits, observed: Callable[[object], None] = lambda event: None
    ) -> None:
        """`observed` is told each event, on the thread that made it, and of what is Unfinished."""
        self.sources = sources
        self._observed = observed
        self._jobs = Jobs("glm-gguf-research", limits.researches, "questions are researched")
        self._stops: set[threading.Event] = set()

    @property
    def running(self) -> int:
        """How many are under way."""
        return len(self._stops)

    def require_sources(self, field: str) -> ResearchSources:
        """Return the sources; Refused for a server that has none."""
        if self.sources is None:
            raise Refused(Problem(400, f"{field}: {NO_SOURCES}", param=field))
        return self.sources

    async def begin(
        self,
        request: Request,
        begun: Callable[[Corpus], Generator[E, None, None]],
        field: str,
        seconds: float | None = None,
    ) -> AsyncGenerator[E, None]:
        """Begin what looks things up in a corpus, and return its events; every refusal happens here.

        `field` asked for it. `seconds` are for its look-ups by tools. Closing the events stops the model and the tools.
        """
        sources = self.require_sources(field)
        queue: asyncio.Queue[E | None] = asyncio.Queue()
        tell, stop = _teller(queue), threading.Event()
        opened = sources.opened(limit=CallLimit(seconds, stop))
        self._stops.add(stop)
        thread = asyncio.create_task(self._jobs.run(partial(self._work, opened, begun, stop, tell)))
        thread.add_done_callback(lambda _: self._stops.discard(stop))
        try:
            first = await unless_gone(request.receive, _first(queue, thread))
        except BaseException:
            stop.set()
            await asyncio.gather(thread, return_exceptions=True)
            raise
        events = _told(first, queue, thread, stop)
        await anext(events)  # once begun, it is closed wherever it is dropped
        return events

    def _work(
        self,
        opened: AbstractContextManager[Corpus],
        begun: Callable[[Corpus], Generator[E, None, None]],
        stop: threading.Event,
        tell: Callable[[E | None], None],
    ) -> None:
        """Tell each event, and None at the end; a job's thread runs it."""
        finished = False
        try:
            with opened as corpus, closing(begun(corpus)) as events:
                for event in events:
                    self._observed(event)
                    if stop.is_set():
                        return
                    tell(event)
            finished = True
        finally:
            if not finished:
                self._observed(Unfinished("abandoned" if stop.is_set() else "failed"))
            tell(None)

    def close(self, seconds: float) -> bool:
        """Stop all; return whether their threads ended within `seconds`."""
        for stop in list(self._stops):
            stop.set()
        return self._jobs.close(seconds)


def _teller(queue: asyncio.Queue[E | None]) -> Callable[[E | None], None]:
    """Return what puts an event into the queue from another thread, while the running loop is open."""
    loop = asyncio.get_running_loop()

    def tell(event: E | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(queue.put_nowait, event)

    return tell


async def _first(queue: asyncio.Queue[E | None], thread: asyncio.Task[None]) -> E:
    """Return the first event, or raise what kept the research from beginning."""
    getter = asyncio.create_task(queue.get())
    try:
        await asyncio.wait({getter, thread}, return_when=asyncio.FIRST_COMPLETED)
        if not getter.done():
            thread.result()  # Refused: it has no thread
        first = await getter
    finally:
        getter.cancel()
    if first is None:
        await thread
        raise AssertionError("a research has a first event")
    return first


async def _told(
    first: E, queue: asyncio.Queue[E | None], thread: asyncio.Task[None], stop: threading.Event
) -> AsyncGenerator[E, None]:
    """Yield the first event, and then all of them; at the end, or when nobody reads on, wait for the thread."""
    try:
        yield first
        event: E | None = first
        while event is not None:
            yield event
            event = await queue.get()
        await thread
    finally:
        stop.set()
        await asyncio.gather(thread, return_exceptions=True)


async def gathered(request: Request, events: AsyncGenerator[E, None]) -> list[E]:
    """Return all events; ClientGone if the client leaves, which stops the model."""

    async def all_events() -> list[E]:
        async with aclosing(events):
            return [event async for event in events]

    return await unless_gone(request.receive, all_events())
