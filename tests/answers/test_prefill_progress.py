"""The progress of a prefill: it grows to the whole prompt, comes before the text, and changes no answer."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from engine.conversations import EXACT, GREEDY, Bench

from glm_gguf import GLM, EngineOptions, Event, PrefillProgress, RequestError, SamplingParams
from glm_gguf.engine.delivery import Prefilled, SampledToken
from glm_gguf.llama.model_handle import ModelHandle

BATCH = 32
SHORT = SamplingParams(temperature=0, max_tokens=6)
LONG = "What is 37 plus 58, and what is the weather in Paris? " * 12


@pytest.fixture
def glm(tiny_gguf: Callable[[str], Path]) -> Iterator[GLM]:
    options = EngineOptions(threads=1, n_ctx=2048, n_batch=BATCH)
    with GLM(tiny_gguf("F32"), options=options) as opened:
        yield opened


def _progress(events: list[Event]) -> list[PrefillProgress]:
    return [event for event in events if isinstance(event, PrefillProgress)]


def test_it_grows_batch_by_batch_before_the_text(glm: GLM) -> None:
    events = list(glm.stream(LONG, sampling=SHORT, progress=True))
    progress = _progress(events)
    total = glm.chat(LONG, sampling=SHORT).usage.prompt_tokens
    assert events[: len(progress)] == progress
    assert {event.total_tokens for event in progress} == {total}
    done = [event.done_tokens for event in progress]
    assert done == [*range(BATCH, total, BATCH), total]
    assert {event.cached_tokens for event in progress} == {0}


def test_what_was_cached_is_told_apart(glm: GLM) -> None:
    first = glm.chat(LONG, sampling=SHORT)
    history = [{"role": "user", "content": LONG}, first.message(), {"role": "user", "content": LONG}]
    progress = _progress(list(glm.stream(history, sampling=SHORT, progress=True)))
    assert progress[0].cached_tokens >= first.usage.prompt_tokens
    assert progress[0].done_tokens == progress[0].cached_tokens + BATCH
    assert progress[-1].done_tokens == progress[-1].total_tokens


@pytest.mark.parametrize("asked", [{}, {"progress": False}, {"progress": None}], ids=str)
def test_nobody_gets_it_unasked(glm: GLM, asked: dict[str, bool | None]) -> None:
    assert not _progress(list(glm.stream(LONG, sampling=SHORT, **asked)))  # type: ignore[arg-type]


def test_a_prompt_of_one_batch_has_none(glm: GLM) -> None:
    assert not _progress(list(glm.stream("Hello", sampling=SHORT, progress=True)))


def test_the_answer_is_the_same(glm: GLM) -> None:
    plain = list(glm.stream(LONG, sampling=SHORT))
    with_progress = list(glm.stream("Other words first. " + LONG, sampling=SHORT, progress=True))
    again = list(glm.stream(LONG, sampling=SHORT, progress=True))
    assert _progress(with_progress)
    assert [event for event in again if not isinstance(event, PrefillProgress)][:-1] == plain[:-1]


def test_a_completion_has_it_too(glm: GLM) -> None:
    assert _progress(list(glm.stream_completion(LONG, max_tokens=4, progress=True)))


def test_an_answer_that_is_held_back_for_a_check_is_not_silent(glm: GLM) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"schema": schema}}
    stream = glm.stream(LONG, response_format=form, max_tokens=20, progress=True)
    with stream:
        assert isinstance(next(stream), PrefillProgress)


def test_progress_must_be_a_truth_value(glm: GLM) -> None:
    with pytest.raises(RequestError, match="progress"):
        glm.stream(LONG, progress="yes")  # type: ignore[arg-type]


def test_after_a_preemption_it_moves_back(exact_model: ModelHandle) -> None:
    options = replace(EXACT, n_ctx=512, n_parallel=2, n_batch=BATCH, n_chunk=8)
    with Bench(exact_model, options) as bench:
        first, _ = bench.ask(range(300, 500), replace(GREEDY, max_tokens=150))
        while not first.tokens:
            bench.scheduler.step()
        second, _ = bench.ask(range(600, 870), GREEDY)
        bench.run()
        counts = [item.tokens for item in second.deliveries if isinstance(item, Prefilled)]
        assert any(later < earlier for earlier, later in itertools.pairwise(counts))
        assert counts[-1] == 270
        assert isinstance(second.deliveries[second.deliveries.index(Prefilled(270)) + 1], SampledToken)
