"""GLM: opens a file, answers conversations, yields events."""

import asyncio
import contextlib
import gc
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engine.conversations import EXACT

import glm_gguf
from glm_gguf import GLM, ChatResult, EngineOptions, Finish, SamplingParams, TextDelta, collect
from glm_gguf.answers.overflow import without_oldest_turns
from glm_gguf.chat.messages import template_messages
from glm_gguf.errors import EngineError, RequestError

SHORT = SamplingParams(temperature=0, max_tokens=6)
ENDLESS = SamplingParams(temperature=2, top_p=1, ignore_eos=True)  # so hot that no draft is accepted
ENDLESS_BUT_SHORT = SamplingParams(temperature=0, max_tokens=30, ignore_eos=True)
HELLO = [{"role": "user", "content": "Hello"}]
QUESTIONS = [[{"role": "user", "content": text}] for text in ("Hello", "你好", "What is 37 plus 58?", "Paris?")]


@pytest.fixture(scope="module")
def glm(tiny_gguf: Callable[[str], Path]) -> Iterator[GLM]:
    with GLM(tiny_gguf("F32"), n_ctx=1024, options=EXACT) as opened:
        yield opened


def test_an_answer_ends_with_its_reason_and_counts(glm: GLM) -> None:
    events = list(glm.stream(HELLO, sampling=SHORT))
    finish = events[-1]
    assert isinstance(finish, Finish)
    assert finish.usage.prompt_tokens == len(glm.tokenize("\nHello")) + 4
    assert 1 <= finish.usage.completion_tokens <= 6
    assert glm.chat(HELLO, sampling=SHORT).content == collect(events).content


@pytest.mark.parametrize("form", [None, {"type": "regex", "pattern": "Answer: [a-z]{9}"}], ids=["free", "forced start"])
def test_an_answer_tells_the_seconds_of_its_prefill_and_decode(glm: GLM, form: dict[str, str] | None) -> None:
    prompt, begun = "word " * 100, time.perf_counter()
    answer = glm.chat(prompt + str(form), sampling=SHORT, response_format=form)
    seconds = time.perf_counter() - begun
    prefill, decode = answer.timings.prefill, answer.timings.decode
    assert 0 < min(prefill, decode) < prefill + decode < seconds


def test_a_second_turn_reuses_the_first(glm: GLM) -> None:
    glm.chat(HELLO, sampling=SHORT)
    again = glm.chat([*HELLO, {"role": "assistant", "content": "Hi."}, *HELLO], sampling=SHORT)
    assert again.usage.cached_tokens >= len(glm.tokenize("\nHello")) + 3


def test_answers_are_written_side_by_side(glm: GLM) -> None:
    alone = [glm.chat(question, sampling=SHORT).content for question in QUESTIONS]
    streams = [glm.stream(question, sampling=SHORT) for question in QUESTIONS]
    assert [collect(stream).content for stream in reversed(streams)] == alone[::-1]


def test_many_threads_may_ask(glm: GLM) -> None:
    alone = [glm.chat(question, sampling=SHORT).content for question in QUESTIONS]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda question: glm.chat(question, sampling=SHORT).content, QUESTIONS * 8))
    assert together == alone * 8


def test_an_event_loop_may_ask(glm: GLM) -> None:
    async def answer(question: list[dict[str, str]]) -> str:
        return collect([event async for event in glm.astream(question, sampling=SHORT)]).content

    async def all_answers() -> list[str]:
        return await asyncio.gather(*map(answer, QUESTIONS))

    assert asyncio.run(all_answers()) == [glm.chat(question, sampling=SHORT).content for question in QUESTIONS]


def test_a_loop_that_ends_early_stops_the_model(glm: GLM) -> None:
    async def first_event() -> object:
        async for event in glm.astream(HELLO, sampling=ENDLESS):
            return event
        return None

    assert asyncio.run(first_event()) is not None
    assert glm.chat(HELLO, sampling=SHORT).usage.completion_tokens


def test_a_closed_stream_yields_no_more_and_leaves_the_queue(tiny_gguf: Callable[[str], Path]) -> None:
    options = EngineOptions(threads=1, n_parallel=1, n_queue=0)
    with GLM(tiny_gguf("Q8_0"), n_ctx=1024, options=options) as glm:
        stream = glm.stream(HELLO, sampling=ENDLESS)
        next(stream)
        with pytest.raises(EngineError, match="waiting already"):
            glm.stream(HELLO, sampling=SHORT)
        stream.close()
        stream.close()
        assert list(stream) == []
        assert wait_until_free(glm).usage.completion_tokens


def wait_until_free(glm: GLM) -> ChatResult:
    """Ask until the stopped answer has given up its place."""
    for _ in range(10_000):
        with contextlib.suppress(EngineError):
            return glm.chat(HELLO, sampling=SHORT)
    raise AssertionError


def test_a_forgotten_stream_stops(glm: GLM) -> None:
    for _ in range(20):
        next(glm.stream(HELLO, sampling=ENDLESS))
    assert glm.chat(HELLO, sampling=SHORT).usage.completion_tokens


def test_an_answer_ends_when_its_time_is_over(glm: GLM) -> None:
    result = glm.chat(HELLO, sampling=ENDLESS, timeout=0.05)
    assert result.finish_reason == "timeout"
    with pytest.raises(RequestError, match="timeout"):
        glm.stream(HELLO, timeout=0)


def test_several_choices_are_drawn_from_one_prompt(glm: GLM) -> None:
    sampling = SamplingParams(temperature=3, top_p=1, seed=5, max_tokens=12)
    results = glm.choices(3, HELLO, sampling=sampling)
    assert len({result.content for result in results}) == 3
    assert results[1].content == glm.chat(HELLO, sampling=replace(sampling, seed=6)).content
    with pytest.raises(RequestError, match="n"):
        glm.choices(0, HELLO)
    with pytest.raises(RequestError, match="ask for"):
        glm.choices(10**12, HELLO)


def test_a_stop_text_ends_the_answer_before_it(glm: GLM) -> None:
    whole = glm.complete("Hello", ENDLESS_BUT_SHORT)
    stop = whole[5:8]
    stopped = collect(glm.stream_completion("Hello", replace(ENDLESS_BUT_SHORT, stop=(stop,))))
    assert stopped.content == whole[: whole.index(stop)]
    assert (stopped.finish_reason, stopped.stop_text) == ("stop", stop)
    assert stopped.usage.completion_tokens < 30


def test_log_probabilities_come_with_every_token(glm: GLM) -> None:
    result = glm.chat(HELLO, sampling=replace(SHORT, logprobs=2))
    assert len(result.logprobs) == result.usage.completion_tokens
    for token in result.logprobs:
        assert token.logprob == token.alternatives[0].logprob <= 0  # the likeliest was taken
        assert token.token == token.alternatives[0].token
        assert len(token.alternatives) == 2
    assert glm.chat(HELLO, sampling=SHORT).logprobs == ()


def test_a_conversation_that_is_too_long_can_lose_its_oldest_turns(glm: GLM) -> None:
    turn = [{"role": "user", "content": "word " * 100}, {"role": "assistant", "content": "Yes. " * 20}]
    long = [{"role": "system", "content": "Be brief."}, *turn * 10, *HELLO]
    with pytest.raises(
        RequestError, match=r"\d+ tokens do not fit: this model's maximum context length is 1024 tokens"
    ):
        glm.stream(long, sampling=SHORT)
    with pytest.raises(RequestError, match="on_overflow"):
        glm.stream(HELLO, on_overflow="forget")  # type: ignore[typeddict-item]
    result = glm.chat(long, sampling=SHORT, on_overflow="drop_oldest_turns")
    assert 600 < result.usage.prompt_tokens <= 1024 - 6
    short = [{"role": "system", "content": "Be brief."}, *HELLO]
    assert without_oldest_turns(template_messages(long), lambda _: False) == template_messages(short)
    assert without_oldest_turns(template_messages(long), lambda _: True) == template_messages(long)


def test_a_text_becomes_a_vector_of_length_one(glm: GLM) -> None:
    vectors = [glm.embed(text) for text in ("weather in Paris", "weather in Paris", "北京的空气质量", "word " * 100)]
    assert all(abs(float(np.linalg.norm(vector)) - 1) < 1e-5 for vector in vectors)
    assert np.allclose(vectors[0], vectors[1])
    assert not np.allclose(vectors[0], vectors[2], atol=0.05)
    with pytest.raises(RequestError, match="empty"):
        glm.embed("")


def test_a_text_is_embedded_where_answers_want_all_cells(tiny_gguf: Callable[[str], Path]) -> None:
    with GLM(tiny_gguf("Q8_0"), n_ctx=384, n_parallel=4, options=EngineOptions(threads=1)) as glm:
        questions = [[{"role": "user", "content": f"{word} " * 50}] for word in ("one", "two", "three", "four")]
        streams = [glm.stream(question, sampling=ENDLESS) for question in questions]
        for stream in streams[:2]:
            next(stream)
        before = glm.status.steps
        glm.embed("word " * 40)
        assert glm.status.steps - before < 150  # an answer alone goes on for 200
        for stream in streams:
            stream.close()


def test_texts_are_embedded_while_answers_are_written(glm: GLM) -> None:
    expected = glm.chat(HELLO, sampling=SHORT).content
    stream = glm.stream(HELLO, sampling=SHORT)
    glm.embed("word " * 100)
    assert collect(stream).content == expected


def test_what_cannot_be_rendered_is_refused_at_once(glm: GLM) -> None:
    with pytest.raises(RequestError, match=r"messages\[0\]\.role"):
        glm.stream([{"role": "wizard", "content": "x"}])
    with pytest.raises(RequestError, match=r"tools\[0\]"):
        glm.stream(HELLO, [{"type": "function"}])


def test_a_long_conversation_is_refused_with_its_length(glm: GLM) -> None:
    with pytest.raises(RequestError, match="maximum context length is 1024 tokens; "):
        glm.chat([{"role": "user", "content": "word " * 3000}])


def test_a_text_is_continued_as_it_stands(glm: GLM) -> None:
    events = list(glm.stream_completion("[gMASK]<sop><|user|>\nHello<|assistant|>", SHORT))
    assert all(isinstance(event, TextDelta) for event in events[:-1])
    finish = events[-1]
    assert isinstance(finish, Finish)
    assert finish.usage.prompt_tokens == len(glm.tokenize("\nHello")) + 4


def test_a_closed_model_is_an_error(tiny_gguf: Callable[[str], Path]) -> None:
    glm = GLM(tiny_gguf("Q8_0"), options=EngineOptions(threads=1))
    glm.close()
    glm.close()
    with pytest.raises(EngineError, match="closed"):
        glm.chat(HELLO, sampling=SHORT)


def test_closing_ends_answers_with_an_error(tiny_gguf: Callable[[str], Path]) -> None:
    glm = GLM(tiny_gguf("Q8_0"), options=EngineOptions(threads=1))
    stream = glm.stream(HELLO, sampling=ENDLESS)
    next(stream)
    glm.close()
    with pytest.raises(EngineError, match="closed"):
        list(stream)


def test_closing_stops_the_reading_of_a_long_prompt(tiny_gguf: Callable[[str], Path]) -> None:
    glm = GLM(tiny_gguf("Q8_0"), n_ctx=4096, options=EngineOptions(threads=1, n_batch=4096))
    stream = glm.stream([{"role": "user", "content": "word " * 900}], sampling=SHORT)
    glm.close()
    with pytest.raises(EngineError, match="closed"):
        list(stream)


def test_a_stream_keeps_its_model(tiny_gguf: Callable[[str], Path]) -> None:
    stream = GLM(tiny_gguf("Q8_0"), options=EngineOptions(threads=1)).stream(HELLO, sampling=SHORT)
    gc.collect()
    assert collect(stream).usage.completion_tokens


FORKED = """
import os, sys
from glm_gguf import GLM, EngineOptions, SamplingParams
from glm_gguf.errors import EngineError
glm = GLM(sys.argv[1], options=EngineOptions(threads=1))
hello = [{"role": "user", "content": "Hello"}]
stream = glm.stream(hello, sampling=SamplingParams(temperature=0, max_tokens=1000, ignore_eos=True))
child = os.fork()
if child == 0:
    for use in (lambda: glm.chat(hello), lambda: list(stream), lambda: glm.embed("x")):
        try:
            use()
        except EngineError as error:
            assert "another process" in str(error)
        else:
            os._exit(1)
    glm.close()
    os._exit(7)  # as multiprocessing does; what CUDA does at a child's exit is not ours
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 7, status
assert list(stream)
"""


def test_a_forked_child_is_told_to_open_its_own(tiny_gguf: Callable[[str], Path]) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORKED, str(tiny_gguf("Q8_0"))]
    subprocess.run(command, check=True, timeout=60)


def test_python_ends_though_nobody_closed_the_model(tiny_gguf: Callable[[str], Path]) -> None:
    code = (
        "import sys; from glm_gguf import GLM; glm = GLM(sys.argv[1]);"
        "stream = glm.stream([{'role': 'user', 'content': 'Hello'}]); next(stream)"
    )
    done = subprocess.run([sys.executable, "-c", code, tiny_gguf("Q8_0")], check=True, timeout=60, capture_output=True)
    assert done.stderr == b""


def test_every_public_name_is_there() -> None:
    assert all(getattr(glm_gguf, name) is not None for name in glm_gguf.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = glm_gguf.nothing


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, glm_gguf; sys.exit(bool({'numpy', 'llama_cpp', 'jinja2', 'gguf'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_model_is_not_shown_what_is_for_the_grammar(glm: GLM) -> None:
    function = {"name": "f", "parameters": {"type": "object", "properties": {}}}
    plain, strict = ([{"type": "function", "function": function | more}] for more in ({}, {"strict": True}))
    hello = [{"role": "user", "content": "Hello"}]
    assert glm.apply_template(hello, strict) == glm.apply_template(hello, plain)
    assert "strict" not in glm.apply_template(hello, strict)
