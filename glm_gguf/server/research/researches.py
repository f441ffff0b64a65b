"""Researches under way, each on a thread; its events go into the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing, closing
from typing import Final

from fastapi import Request

from glm_gguf.model import GLM
from glm_gguf.research.research import Research
from glm_gguf.research.research_events import ResearchEvent
from glm_gguf.research.research_sources import ResearchSources
from glm_gguf.server.jobs import Jobs
from glm_gguf.server.limits import Limits
from glm_gguf.server.problem import Problem, Refused
from glm_gguf.server.research.question import Question
from glm_gguf.server.streams.sse import unless_gone

NO_SOURCES: Final = "this server has nothing to search; it is started with --research-sources for that."
_END: Final = None
_Queue = asyncio.Queue[ResearchEvent | None]
Events = AsyncGenerator[ResearchEvent, None]


class Researches:
    """Researches questions in the sources of the server, a limited number at once."""

    def __init__(self, sources: ResearchSources | None, limits: Limits) -> None:
        self.sources = sources
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

    async def begin(self, request: Request, glm: GLM, question: Question, field: str) -> Events:
        """Begin a research, and return its events; every refusal happens here.

        `field` asked for it. Closing the events stops the model.
        """
        sources = self.require_sources(field)
        queue: _Queue = asyncio.Queue()
        loop, stop = asyncio.get_running_loop(), threading.Event()

        def tell(event: ResearchEvent | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(queue.put_nowait, event)

        def work() -> None:
            try:
                with sources.opened() as corpus:
                    research = Research(glm, corpus, question.options, question.sampling)
                    with closing(research.stream(question.text, question.history)) as events:
                        for event in events:
                            if stop.is_set():
                                return
                            tell(event)
            finally:
                tell(_END)

        self._stops.add(stop)
        thread = asyncio.create_task(self._jobs.run(work))
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

    def close(self, seconds: float) -> bool:
        """Stop all; return whether their threads ended within `seconds`."""
        for stop in list(self._stops):
            stop.set()
        return self._jobs.close(seconds)


async def _first(queue: _Queue, thread: asyncio.Task[None]) -> ResearchEvent:
    """Return the first event, or raise what kept the research from beginning."""
    getter = asyncio.create_task(queue.get())
    try:
        await asyncio.wait({getter, thread}, return_when=asyncio.FIRST_COMPLETED)
        if not getter.done():
            thread.result()  # Refused: it has no thread
        first = await getter
    finally:
        getter.cancel()
    if first is _END:
        await thread
        raise AssertionError("a research has a first event")
    return first


async def _told(
    first: ResearchEvent, queue: _Queue, thread: asyncio.Task[None], stop: threading.Event
) -> AsyncGenerator[ResearchEvent, None]:
    """Yield the first event, and then all of them; at the end, or when nobody reads on, wait for the thread."""
    try:
        yield first
        event: ResearchEvent | None = first
        while event is not _END:
            yield event
            event = await queue.get()
        await thread
    finally:
        stop.set()
        await asyncio.gather(thread, return_exceptions=True)


async def gather_research(request: Request, events: Events) -> list[ResearchEvent]:
    """Return all events; ClientGone if the client leaves, which stops the model."""

    async def gathered() -> list[ResearchEvent]:
        async with aclosing(events):
            return [event async for event in events]

    return await unless_gone(request.receive, gathered())
