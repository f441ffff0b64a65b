"""Lines answered side by side, by whatever answers HTTP requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, Protocol

from glm_gguf.batches.input_file import read_extent
from glm_gguf.batches.line_index import PlacedLine
from glm_gguf.batches.open_batch import OpenBatch
from glm_gguf.batches.request_line import LineError, read_line
from glm_gguf.batches.result_line import Answer, LineResult, answered_line
from glm_gguf.errors import EngineError, GlmGgufError, RequestError

FLUSH_SECONDS: Final = 1.0
"""Seconds of work that a power failure may cost; a killed process loses only what it was answering."""
STOPPING: Final = 503
"""Status that without Retry-After tells that the model answers no more requests."""


class AnswerRequest(Protocol):
    """Answers a request: the server's app, or another program's API."""

    async def __call__(self, url: str, body: bytes) -> Answer:
        """Return the response to a POST; cancelling it stops the model."""


async def answer_lines(
    batch: OpenBatch, answer: AnswerRequest, parallel: int, watch: Callable[[LineResult], None]
) -> None:
    """Answer all lines that have no result, `parallel` at once, and add their results as they come.

    Raises EngineError where the model fails, OutputError where results are lost; run it again to go on.
    """
    pending, over = batch.index.pending(), asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_flush(batch, over))
            answering = [group.create_task(_answer_some(batch, pending, answer, watch)) for _ in range(parallel)]
            await asyncio.wait(answering)
            over.set()
    except* GlmGgufError as errors:
        raise first_error(errors) from None
    finally:
        batch.flush()


async def _answer_some(
    batch: OpenBatch, pending: Iterator[PlacedLine], answer: AnswerRequest, watch: Callable[[LineResult], None]
) -> None:
    """Take lines that are pending, one after another."""
    for placed in pending:
        data = read_extent(batch.input, placed.extent)
        result = await answer_line(placed.number, data, answer)
        batch.add(result)
        watch(result)


async def answer_line(number: int, data: bytes, answer: AnswerRequest) -> LineResult:
    """Answer one line; a request that finds the server full is sent again."""
    line = read_line(data, number)
    if isinstance(line, LineError):
        raise RequestError("the input was changed while it was answered", where=f"line {number}", fix="run it again")
    body = json.dumps(line.body).encode()
    while (response := await answer(line.url, body)).retry_after is not None:
        await asyncio.sleep(response.retry_after)
    if response.status == STOPPING:
        raise EngineError("the model answers no more requests", where=f"line {number}", fix="run it again to go on")
    return answered_line(number, line.custom_id, response)


async def _flush(batch: OpenBatch, over: asyncio.Event) -> None:
    """Give results to the disk, once a second and at the end."""
    while not over.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await over.wait()
        await asyncio.to_thread(batch.flush)


def first_error(errors: BaseExceptionGroup[GlmGgufError]) -> GlmGgufError:
    """Return the first error of a group: the others say the same of other lines."""
    error = errors.exceptions[0]
    return first_error(error) if isinstance(error, BaseExceptionGroup) else error
