"""Answers that are read in the event loop: several side by side, or whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from fastapi import Request

from glm_gguf.chat.events import Event, Finish
from glm_gguf.engine.attempts import AsyncEvents
from glm_gguf.errors import GlmGgufError
from glm_gguf.server.service import close_all
from glm_gguf.server.sse import unless_gone


async def side_by_side(answers: Sequence[AsyncEvents]) -> AsyncGenerator[tuple[int, Event], None]:
    """Yield the events of several answers as they come, each with the index of its answer; all stop at the end."""
    try:
        if len(answers) == 1:
            async for event in answers[0]:
                yield 0, event
            return
        async for pair in _merged(answers):
            yield pair
    finally:
        close_all(answers)


async def _merged(answers: Sequence[AsyncEvents]) -> AsyncGenerator[tuple[int, Event], None]:
    arrived: asyncio.Queue[tuple[int, Event] | GlmGgufError] = asyncio.Queue()

    async def follow(index: int, answer: AsyncEvents) -> None:
        try:
            async for event in answer:
                arrived.put_nowait((index, event))
        except GlmGgufError as error:
            arrived.put_nowait(error)

    tasks = [asyncio.create_task(follow(*pair)) for pair in enumerate(answers)]
    try:
        finished = 0
        while finished < len(answers):
            pair = await arrived.get()
            if isinstance(pair, GlmGgufError):
                raise pair
            finished += isinstance(pair[1], Finish)
            yield pair
    finally:
        for task in tasks:
            task.cancel()


async def whole(request: Request, answers: Sequence[AsyncEvents]) -> list[list[Event]]:
    """Wait for all events of answers; ClientGone where the client does not, and they stop."""
    return await unless_gone(request.receive, _gathered(answers))


async def _gathered(answers: Sequence[AsyncEvents]) -> list[list[Event]]:
    events: list[list[Event]] = [[] for _ in answers]
    async for index, event in side_by_side(answers):
        events[index].append(event)
    return events
