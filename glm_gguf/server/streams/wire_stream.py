"""Writes answers as an API's own events or chunks, streamed or whole."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import Any, Protocol

from fastapi import Request

from glm_gguf.answers.prepared_answer import AsyncEvents
from glm_gguf.chat.events import Event, PrefillProgress
from glm_gguf.errors import GlmGgufError
from glm_gguf.server.bodies.wire import WireResponse
from glm_gguf.server.problem import OLLAMA, UNEXPECTED, Problem, problem_of
from glm_gguf.server.streams.merge import gather_events, merged_events
from glm_gguf.server.streams.sse import DONE, comment, data, error_data, named

LOGGER = logging.getLogger(__name__)
WireEvent = dict[str, Any]
"""An event as it goes over the wire; its `type` is also the name of the server-sent event."""


class WireFold(Protocol):
    """Translates the events of one answer into events of an API."""

    def begin(self) -> Iterator[WireEvent]:
        """Announce the answer."""

    def feed(self, event: Event) -> Iterator[WireEvent]:
        """Translate the next event of the answer."""

    def flush(self) -> Iterator[WireEvent]:
        """End an incomplete answer."""

    def fail(self, problem: Problem) -> Iterator[WireEvent]:
        """End an answer that failed."""


class ChunkFold(Protocol):
    """Translates the events of answers into OpenAI's chunks."""

    def feed(self, index: int, event: Event) -> Iterator[WireResponse]:
        """Translate the next event of one of the answers."""

    def progress(self, index: int, event: PrefillProgress) -> WireResponse | None:
        """Write a chunk that tells how far a prompt is computed; None where the request did not ask for it."""

    def usage(self) -> WireResponse:
        """Write the chunk with the token counts."""


class LineFold(Protocol):
    """Translates the events of one answer into lines of a stream."""

    def feed(self, event: Event) -> Iterator[WireResponse]:
        """Translate the next event of the answer."""


async def ended_stream(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Pass chunks on, and end their stream as OpenAI does; an error becomes the last one."""
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk
    except Exception as error:  # the outermost edge: inside a stream only an event can report it
        yield error_data(stream_problem(error))
        return
    yield DONE


def chunk_stream(fold: ChunkFold, answers: Sequence[AsyncEvents], *, usage: bool) -> AsyncGenerator[bytes, None]:
    """Write answers as chunks."""
    return ended_stream(_chunks(fold, answers, usage=usage))


async def _chunks(fold: ChunkFold, answers: Sequence[AsyncEvents], *, usage: bool) -> AsyncGenerator[bytes, None]:
    async with aclosing(merged_events(answers)) as events:
        async for index, event in events:
            for written in event_chunks(fold, index, event):
                yield written
    if usage:
        yield data(fold.usage().as_json())


def event_chunks(fold: ChunkFold, index: int, event: Event) -> Iterator[bytes]:
    """Write one event of an answer as chunks; progress as a comment where no chunk was asked for."""
    if isinstance(event, PrefillProgress):
        told = fold.progress(index, event)
        yield progress_comment(event) if told is None else data(told.as_json())
        return
    for chunk in fold.feed(index, event):
        yield data(chunk.as_json())


async def wire_stream(fold: WireFold, answer: Sequence[AsyncEvents]) -> AsyncGenerator[bytes, None]:
    """Write an answer as server-sent events; an error becomes the last one."""
    try:
        yield written_events(fold.begin())
        async for _, event in merged_events(answer):
            if isinstance(event, PrefillProgress):
                yield progress_comment(event)
            elif written := written_events(fold.feed(event)):
                yield written
        if written := written_events(fold.flush()):
            yield written
    except Exception as error:  # as above
        yield written_events(fold.fail(stream_problem(error)))


def progress_comment(event: PrefillProgress) -> bytes:
    """Write how far a prompt is computed, as a comment."""
    return comment(f"prompt: {event.done_tokens} of {event.total_tokens} tokens, {event.cached_tokens} cached")


async def folded_lines(fold: LineFold, answer: Sequence[AsyncEvents]) -> AsyncGenerator[WireResponse, None]:
    """Yield the lines of an answer."""
    async with aclosing(merged_events(answer)) as events:
        async for _, event in events:
            for reply in fold.feed(event):
                yield reply


async def line_stream(replies: AsyncGenerator[WireResponse, None]) -> AsyncGenerator[bytes, None]:
    """Write replies as lines of JSON (Ollama); an error becomes the last one."""
    try:
        async with aclosing(replies):
            async for reply in replies:
                yield f"{reply.as_json()}\n".encode()
    except Exception as error:  # as above
        yield f"{OLLAMA.text(stream_problem(error))}\n".encode(errors="replace")


def stream_problem(error: Exception) -> Problem:
    """Return the problem of an error; log an internal one with its cause."""
    if isinstance(error, GlmGgufError):
        problem = problem_of(error)
        if problem.status == 500:
            LOGGER.error("%s", error, exc_info=error.__cause__)
        return problem
    LOGGER.error("a stream failed", exc_info=error)
    return UNEXPECTED


async def read_to_end(request: Request, fold: WireFold, answer: Sequence[AsyncEvents]) -> None:
    """Feed a whole answer to a fold; the fold then holds the response."""
    for events in await gather_events(request, answer):
        for event in events:
            _drop(fold.feed(event))
    _drop(fold.flush())


def _drop(events: Iterable[WireEvent]) -> None:
    for _ in events:
        pass


def written_events(events: Iterable[WireEvent]) -> bytes:
    """Write events of an API as server-sent ones."""
    return b"".join(named(event["type"], json.dumps(event, ensure_ascii=False)) for event in events)
