"""Keywords of a call have the dataclass's types, win over `sampling`, and are refused if unknown."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from case_ids import without_address
from engine.conversations import EXACT

from glm_gguf import GLM, CacheType, EngineError, EngineOptions, LoraAdapter, SamplingParams
from glm_gguf.answers.accepted_keywords import chat_options, completion_options
from glm_gguf.answers.answer_options import AnswerOptions, ChatOptions, CompletionOptions, PromptOptions
from glm_gguf.answers.thought_budget import ThoughtBudget
from glm_gguf.errors import QueueFullError, RequestError
from glm_gguf.llama.sampling_params import Dry

HELLO = [{"role": "user", "content": "Hello"}]
WIDER = {"dry": "Dry | Mapping[str, Any] | None"}
"""Keywords that take more types than their field."""


@pytest.fixture(scope="module")
def glm(tiny_gguf: Callable[[str], Path]) -> Iterator[GLM]:
    with GLM(tiny_gguf("F32"), n_ctx=512, options=EXACT) as opened:
        yield opened


def test_the_typed_names_are_those_of_the_dataclass() -> None:
    typed = {name: hint.__forward_arg__ for name, hint in ChatOptions.__annotations__.items()}
    own = {field.name: WIDER.get(field.name, field.type) for field in dataclasses.fields(SamplingParams)}
    assert {name: hint for name, hint in typed.items() if name not in AnswerOptions.__annotations__} == own
    assert ChatOptions.__required_keys__ == CompletionOptions.__required_keys__ == frozenset()
    assert typing.get_type_hints(CompletionOptions)


def test_keywords_are_heard(glm: GLM) -> None:
    greedy = SamplingParams(temperature=0, max_tokens=5)
    expected = glm.chat(HELLO, sampling=greedy)
    assert expected.usage.completion_tokens == 5
    assert glm.chat(HELLO, temperature=0, max_tokens=5).content == expected.content
    assert glm.chat(HELLO, sampling={"temperature": 0, "max_tokens": 5}).content == expected.content
    assert glm.chat("Hello", sampling=SamplingParams(temperature=0), max_tokens=5).content == expected.content
    assert glm.chat(HELLO[0], sampling=replace(greedy, max_tokens=9), max_tokens=5).content == expected.content
    assert glm.complete("Hello", temperature=0, max_tokens=3) == glm.complete("Hello", replace(greedy, max_tokens=3))


replace = dataclasses.replace


def test_keywords_win_over_sampling_field_by_field() -> None:
    sampling, options = chat_options(SamplingParams(0.5, top_k=3, seed=1), {"top_k": 0, "seed": None, "timeout": 2.0})
    assert sampling == SamplingParams(0.5, top_k=0, seed=1)
    assert options == {"timeout": 2.0}


def test_none_is_as_if_not_given() -> None:
    given = dict.fromkeys(ChatOptions.__optional_keys__)
    assert chat_options(None, given) == (SamplingParams(), {})


def test_one_meaning_has_one_form() -> None:
    sampling, _ = chat_options({"dry": {"multiplier": 1}}, {"stop": "a", "logit_bias": {"3": 1.5}})
    assert sampling == SamplingParams(dry=Dry(1), stop=("a",), logit_bias={3: 1.5})
    assert SamplingParams(stop=["a", "b"]).stop == ("a", "b")


METHODS: dict[str, Callable[[GLM, dict[str, Any]], object]] = {
    "prepare": lambda glm, options: glm.prepare(HELLO, **options),
    "stream": lambda glm, options: glm.stream(HELLO, **options),
    "astream": lambda glm, options: glm.astream(HELLO, **options),
    "chat": lambda glm, options: glm.chat(HELLO, **options),
    "achat": lambda glm, options: asyncio.run(glm.achat(HELLO, **options)),
    "run": lambda glm, options: glm.run(HELLO, [], **options),
    "arun": lambda glm, options: asyncio.run(glm.arun(HELLO, [], **options)),
    "stream_run": lambda glm, options: glm.stream_run(HELLO, [], **options),
    "astream_run": lambda glm, options: glm.astream_run(HELLO, [], **options),
    "choices": lambda glm, options: glm.choices(1, HELLO, **options),
    "achoices": lambda glm, options: asyncio.run(glm.achoices(1, HELLO, **options)),
    "continuation": lambda glm, options: glm.continuation("Hello", **options),
    "stream_completion": lambda glm, options: glm.stream_completion("Hello", **options),
    "complete": lambda glm, options: glm.complete("Hello", **options),
    "acomplete": lambda glm, options: asyncio.run(glm.acomplete("Hello", **options)),
    "apply_template": lambda glm, options: glm.apply_template(HELLO, **options),
    "prompt_ids": lambda glm, options: glm.prompt_ids(HELLO, **options),
}


def test_no_method_that_takes_keywords_is_forgotten() -> None:
    taking = {
        name
        for name, method in inspect.getmembers(GLM, inspect.isfunction)
        if not name.startswith("_") and "options" in inspect.signature(method).parameters
    }
    assert taking == METHODS.keys()


@pytest.mark.parametrize("method", METHODS)
def test_an_unknown_name_is_refused_with_the_nearest(glm: GLM, method: str) -> None:
    wrong, right = ("variable", "variables") if "variables" in _taken(method) else ("tempreature", "temperature")
    with pytest.raises(TypeError, match=f"'{wrong}'.* did you mean '{right}'"):
        METHODS[method](glm, {wrong: 0})


@pytest.mark.parametrize("method", ["run", "arun", "stream_run", "astream_run"])
@pytest.mark.parametrize(("wrong", "right"), [("max_turn", "max_turns"), ("limit", "limits"), ("aprove", "approve")])
def test_the_nearest_name_of_a_run_may_be_one_of_its_limits(glm: GLM, method: str, wrong: str, right: str) -> None:
    with pytest.raises(TypeError, match=f"'{wrong}'.* did you mean '{right}'"):
        METHODS[method](glm, {wrong: 0})


def test_an_option_of_a_run_is_named_as_such_where_a_chat_gets_it(glm: GLM) -> None:
    with pytest.raises(TypeError, match=r"'max_turns' is no option of an answer; run\(\) takes it"):
        glm.chat(HELLO, max_turns=2)  # type: ignore[call-arg]


def _taken(method: str) -> typing.Collection[str]:
    return PromptOptions.__optional_keys__ if method in ("apply_template", "prompt_ids") else ()


@pytest.mark.parametrize("method", ["continuation", "stream_completion", "complete", "acomplete"])
@pytest.mark.parametrize("name", ["tool_choice", "variables", "on_overflow", "thinking_budget"])
def test_a_text_that_is_continued_takes_no_options_of_answers(glm: GLM, method: str, name: str) -> None:
    with pytest.raises(TypeError, match=rf"'{name}' is no option of a completion; chat\(\) takes it"):
        METHODS[method](glm, {name: None})


@pytest.mark.parametrize("method", ["apply_template", "prompt_ids"])
@pytest.mark.parametrize("name", ["timeout", "temperature", "tool_choice"])
def test_a_prompt_takes_no_options_of_answers(glm: GLM, method: str, name: str) -> None:
    with pytest.raises(TypeError, match=f"'{name}' is no option of a prompt"):
        METHODS[method](glm, {name: 1})


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("max_completion_tokens", "max_tokens"),
        ("stream", "stream()"),
        ("n", "choices()"),
        ("top_logprobs", "logprobs"),
        ("approve", "limits"),
    ],
)
def test_names_of_other_libraries_lead_here(name: str, hint: str) -> None:
    with pytest.raises(TypeError) as caught:
        chat_options(None, {name: 1})
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"sampling": 3}, "sampling"),
        ({"sampling": {"tempreature": 0}}, "did you mean 'temperature'"),
        ({"top_k": 1.5}, "top_k"),
        ({"max_tokens": "12"}, "max_tokens"),
        ({"temperature": True}, "temperature"),
        ({"logprobs": True}, "logprobs"),
        ({"stop": 3}, "stop"),
        ({"stop": ["a", ""]}, "stop"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"logit_bias": {"a": 1}}, "logit_bias"),
        ({"ignore_eos": "yes"}, "ignore_eos"),
        ({"dry": 3}, "dry"),
        ({"dry": {"multiplyer": 3}}, "did you mean 'multiplier'"),
        ({"variables": 3}, "variables"),
        ({"variables": {"langauge": "de"}}, "variables: the chat template does not read langauge"),
        ({"lora": ["a"]}, "lora"),
        ({"timeout": "soon"}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"continue_final_message": 1}, "continue_final_message"),
        ({"constraint": object()}, "constraint: .* is not an object with finished"),
        ({"tools": 3}, "tools"),
        ({"messages": []}, "messages: the conversation is empty"),
        ({"messages": 3}, "messages"),
        ({"messages": [{"role": "user"}]}, r"messages\[0\].content"),
        ({"messages": [{"role": "system", "content": None}, *HELLO]}, r"messages\[0\].content"),
    ],
    ids=without_address,
)
def test_values_that_make_no_sense_are_refused_by_name(glm: GLM, given: dict[str, Any], place: str) -> None:
    with pytest.raises(RequestError, match=place):
        glm.prepare(**{"messages": HELLO, **given})


def test_a_model_that_does_not_think_says_once_that_a_budget_has_no_effect(
    tiny_gguf: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    with GLM(tiny_gguf("Q8_0"), options={"n_ctx": 256, "threads": 1}) as glm:
        caplog.clear()  # llama.cpp's warnings of the file
        glm.chat(HELLO, thinking_budget=0, max_tokens=1)
        assert caplog.messages == []
        for _ in range(2):
            glm.chat(HELLO, thinking_budget=9, max_tokens=1)
    (told,) = caplog.messages
    assert told == "this model does not think: thinking_budget (--thinking-budget) has no effect"


def test_a_continued_text_has_no_thought() -> None:
    with pytest.raises(RequestError, match="thinking_budget"):
        completion_options({"thinking_budget": 5}, {})


def test_options_of_the_engine_may_be_a_dict(tiny_gguf: Callable[[str], Path]) -> None:
    with GLM(tiny_gguf("Q8_0"), options={"n_ctx": 256, "threads": 1}) as glm:
        assert glm.n_ctx == 256
    with pytest.raises(RequestError, match="did you mean 'threads'"):
        GLM(tiny_gguf("Q8_0"), options={"thread": 1})
    assert EngineOptions(threads=1).threads == 1


def test_several_choices_take_all_options(glm: GLM) -> None:
    schema = {"type": "json_schema", "json_schema": {"schema": {"enum": ["yes", "no"]}}}
    wanted: dict[str, Any] = {"response_format": schema, "temperature": 2, "seed": 3}
    results = glm.choices(3, HELLO, **wanted)
    assert {result.content for result in results} <= {'"yes"', '"no"'}
    again = asyncio.run(glm.achoices(3, HELLO, **wanted))
    assert [result.content for result in again] == [result.content for result in results]


def test_a_constraint_is_good_for_one_answer(glm: GLM) -> None:
    with pytest.raises(RequestError, match="n: a constraint"):
        glm.choices(2, HELLO, constraint=ThoughtBudget(1, [1], lambda _: b""))


def test_options_of_the_engine_take_one_or_several_and_names() -> None:
    options = EngineOptions(lora="a/style.gguf", devices="CUDA0", cache_type_k="q8_0")  # type: ignore[arg-type]
    assert options == EngineOptions(
        lora=(LoraAdapter(Path("a/style.gguf")),), devices=("CUDA0",), cache_type_k=CacheType.Q8_0
    )
    assert EngineOptions(lora=["a.gguf", LoraAdapter(Path("b.gguf"), 0.5)]).scales == (1.0, 0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("field", [{"lora": 3}, {"cache_type_k": "q9"}, {"cache_type_v": 8}], ids=str)
def test_options_of_the_engine_that_make_no_sense_are_refused(field: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=next(iter(field))):
        EngineOptions(**field)


def test_texts_come_alone_or_several_at_once(glm: GLM) -> None:
    texts = ["weather in Paris", "北京的空气质量"]
    vectors = glm.embed(texts)
    assert [vector.shape for vector in vectors] == [glm.embed(texts[0]).shape] * 2
    assert np.allclose(vectors[1], glm.embed(glm.tokenize(texts[1])))
    assert np.allclose(vectors[1], glm.embed([glm.tokenize(text) for text in texts])[1])

    async def embedded() -> tuple[Any, Any]:
        return await glm.aembed(texts), await glm.aembed(texts[0])

    several, one = asyncio.run(embedded())
    assert np.allclose(several, vectors)
    assert np.allclose(one, vectors[0])


def test_scores_are_the_same_in_an_event_loop(glm: GLM) -> None:
    scored = glm.score("Hello there", alternatives=2)
    assert scored == asyncio.run(glm.ascore(np.array(glm.tokenize("Hello there")), alternatives=2))  # type: ignore[arg-type]
    assert scored[0].logprob == 0
    assert scored[1].logprob < 0
    assert len(scored[1].alternatives) == 2


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (lambda glm: glm.embed(["a", ""]), r"content\[1\]: empty"),
        (lambda glm: glm.embed([]), "content: empty"),
        (lambda glm: glm.embed(5), "content: int is no text"),
        (lambda glm: glm.embed(["a", 5]), r"content\[1\]: int is no text"),
        (lambda glm: glm.embed(None), "content: NoneType is no text"),
        (lambda glm: glm.complete(5), "prompt: int is no text"),
        (lambda glm: glm.complete(["a", "b"]), "prompt: list is no text"),
        (lambda glm: glm.complete([1.5]), "prompt: list is no text"),
        (lambda glm: glm.complete([10**9]), "prompt: a token id is not in the vocabulary"),
        (lambda glm: glm.embed(b"ab"), "content: bytes is no text"),
        (lambda glm: glm.tokenize(5), "content: int is no text"),
        (lambda glm: glm.detokenize("ab"), "tokens: str is no text"),
        (lambda glm: glm.score("a", alternatives=True), "logprobs"),
        (lambda glm: glm.score(""), "prompt: empty"),
        (lambda glm: glm.run("Hello", 5), "tools: int is no list of tools"),
        (lambda glm: glm.choices(0, "Hello"), "n: 0 answers"),
        (lambda glm: glm.choices("2", "Hello"), "n: '2' answers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_text_is_refused_by_name(glm: GLM, ask: Callable[[GLM], object], field: str) -> None:
    with pytest.raises(RequestError, match=field):
        ask(glm)


def test_a_model_closes_with_its_async_block(tiny_gguf: Callable[[str], Path]) -> None:
    async def used() -> GLM:
        async with GLM(tiny_gguf("Q8_0"), options={"threads": 1, "n_ctx": 256}) as glm:
            assert (await glm.achat("Hello", temperature=0, max_tokens=4)).usage.completion_tokens == 4
            assert await glm.acomplete("Hello", temperature=0, max_tokens=4)
            return glm

    with pytest.raises(EngineError, match="closed"):
        asyncio.run(used()).chat("Hello")


def test_an_answer_that_is_cancelled_leaves_its_place(tiny_gguf: Callable[[str], Path]) -> None:
    async def asked(glm: GLM) -> None:
        for ask in (glm.achat, glm.acomplete):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ask("Hello", ignore_eos=True), 0.1)
        await until_answered(glm)

    async def until_answered(glm: GLM) -> None:
        """A cancelled call whose prompt a thread still renders gives up its place after that."""
        for _ in range(1000):
            with contextlib.suppress(QueueFullError):
                await glm.achat("Hello", max_tokens=1)
                return
            await asyncio.sleep(0.01)
        pytest.fail("the place is never free again")

    with GLM(tiny_gguf("Q8_0"), options={"threads": 1, "n_ctx": 2048, "n_parallel": 1, "n_queue": 0}) as glm:
        asyncio.run(asked(glm))


def test_a_session_is_saved_of_a_text_too(glm: GLM, tmp_path: Path) -> None:
    for messages in ("Hello", HELLO, HELLO[0], [], None):
        glm.save_session(tmp_path / "a.session", messages, [])
    assert (tmp_path / "a.session").stat().st_size > 0


def test_capitals_are_not_taken_for_another_option(glm: GLM) -> None:
    with pytest.raises(TypeError, match="did you mean 'top_k'"):
        glm.chat("Hello", top_K=3)
