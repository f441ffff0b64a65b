"""Threads and event loops read the same answers, and closing one stops the model at any time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from glm_gguf.answers.prepared_answer import AsyncEvents
from glm_gguf.chat.events import Event
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.model import GLM
from tests.waiting import until

UNIQUE = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3, "uniqueItems": True}
CHECKED = {"type": "json_schema", "json_schema": {"name": "n", "schema": UNIQUE}}
OPTIONS = EngineOptions(threads=1, n_ctx=1024, n_parallel=1, n_queue=0)


@pytest.fixture
def glm(tiny_gguf: Callable[[str], Path]) -> Iterator[GLM]:
    with GLM(tiny_gguf("Q8_0"), options=OPTIONS) as opened:
        yield opened


@pytest.mark.parametrize("form", [None, CHECKED], ids=["as it comes", "checked"])
@pytest.mark.parametrize("seed", [1, 2])
def test_threads_and_event_loops_read_the_same_events(glm: GLM, form: dict[str, object] | None, seed: int) -> None:
    async def gathered() -> list[Event]:
        return [event async for event in glm.astream("Hello", response_format=form, seed=seed, max_tokens=40)]

    with glm.stream("Hello", response_format=form, seed=seed, max_tokens=40) as events:
        assert [*events][:-1] == asyncio.run(gathered())[:-1]  # but for the cached tokens in Finish


def test_an_answer_that_is_checked_leaves_its_place_when_it_is_closed(glm: GLM) -> None:
    for _ in range(4):
        stream = glm.stream("Hello", response_format=CHECKED)
        stream.close()
        assert list(stream) == []
    assert glm.chat("Hello", max_tokens=2).usage.completion_tokens == 2


def test_closing_ends_the_wait_of_another_thread(glm: GLM) -> None:
    stream = glm.stream("Hello", ignore_eos=True, temperature=2, max_tokens=900)  # so hot that no draft shortens it
    seen: list[Event] = []
    reader = threading.Thread(target=lambda: seen.extend(stream))
    reader.start()
    until(lambda: bool(glm.status.running))
    stream.close()
    reader.join(20)
    assert not reader.is_alive()
    assert list(stream) == []
    until(lambda: not glm.status.running)


def test_an_event_loop_may_close_an_answer_that_a_task_reads(glm: GLM) -> None:
    async def read(answer: AsyncEvents) -> list[Event]:
        return [event async for event in answer]

    async def closed() -> list[Event]:
        answer = glm.prepare("Hello", ignore_eos=True, temperature=2, max_tokens=900).events(asyncio.get_running_loop())
        task = asyncio.create_task(read(answer))
        await asyncio.sleep(0)  # the task waits for the first event
        answer.close()
        return await asyncio.wait_for(task, 20)

    assert asyncio.run(closed()) == []
    until(lambda: not glm.status.running)
