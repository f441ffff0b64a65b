"""Reads answers in the event loop: several at once, or whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from fastapi import Request

from glm_gguf.answers.prepared_answer import AsyncEvents
from glm_gguf.chat.events import Event, Finish, PrefillProgress
from glm_gguf.errors import DeadlineError
from glm_gguf.server.service import close_all
from glm_gguf.server.streams.sse import unless_gone


async def merged_events(answers: Sequence[AsyncEvents]) -> AsyncGenerator[tuple[int, Event], None]:
    """Yield the events of several answers as they arrive, with each answer's index; at the end, stop all answers.

    DeadlineError if the time limit passes before the first event.
    """
    events = _single(answers[0]) if len(answers) == 1 else _interleaved(answers)
    silent = True
    try:
        async with aclosing(events):
            async for index, event in events:
                if silent and _never_began(event):
                    what = "the time limit passed before the answer began"
                    raise DeadlineError(what, fix="try again later, or give a larger timeout")
                silent = silent and isinstance(event, PrefillProgress)
                yield index, event
    finally:
        close_all(answers)


def _never_began(event: Event) -> bool:
    return isinstance(event, Finish) and event.reason == "timeout" and not event.usage.completion_tokens


async def _single(answer: AsyncEvents) -> AsyncGenerator[tuple[int, Event], None]:
    async for event in answer:
        yield 0, event


async def _interleaved(answers: Sequence[AsyncEvents]) -> AsyncGenerator[tuple[int, Event], None]:
    arrived: asyncio.Queue[tuple[int, Event] | asyncio.Task[None]] = asyncio.Queue()

    async def follow(index: int, answer: AsyncEvents) -> None:
        async for event in answer:
            arrived.put_nowait((index, event))

    tasks = [asyncio.create_task(follow(*pair)) for pair in enumerate(answers)]
    for task in tasks:
        task.add_done_callback(arrived.put_nowait)
    try:
        left = len(tasks)
        while left:
            found = await arrived.get()
            if isinstance(found, asyncio.Task):
                found.result()
                left -= 1
            else:
                yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # else asyncio would log errors of the others


async def gather_events(request: Request, answers: Sequence[AsyncEvents]) -> list[list[Event]]:
    """Collect the events of answers but for the prefill; if the client disconnects, stop them and raise ClientGone."""
    return await unless_gone(request.receive, _gathered(answers))


async def _gathered(answers: Sequence[AsyncEvents]) -> list[list[Event]]:
    events: list[list[Event]] = [[] for _ in answers]
    async for index, event in merged_events(answers):
        if not isinstance(event, PrefillProgress):
            events[index].append(event)
    return events
