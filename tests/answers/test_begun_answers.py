"""The model continues a begun answer, and the newline that opens an answer costs no token."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from engine.conversations import EXACT

import glm_gguf
from glm_gguf import GLM, SamplingParams
from glm_gguf.convert import ConvertOptions, TypeChoices, convert
from glm_gguf.demo.tools import DECLARATIONS
from glm_gguf.errors import RequestError

PACKAGE = Path(glm_gguf.__file__).parent
GREEDY = SamplingParams(temperature=0, max_tokens=60)
HELLO = [{"role": "user", "content": "Hello"}]
WEATHER = [{"role": "user", "content": "What is the weather in Paris?"}]
TOOLS = [tool for tool in DECLARATIONS if tool["function"]["name"] == "get_weather"]


@pytest.fixture(scope="module")
def glm(tiny_gguf: Callable[[str], Path]) -> Iterator[GLM]:
    with GLM(tiny_gguf("F32"), n_ctx=1024, options=EXACT) as opened:
        yield opened


@pytest.fixture(scope="module")
def thinking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GLM]:
    """The tiny model under Z1's template, which opens a thought."""
    directory = tmp_path_factory.mktemp("begun") / "z1"
    shutil.copytree(PACKAGE / "demo" / "checkpoint", directory)
    template = PACKAGE / "chat" / "glm-z1-0414.jinja"
    shutil.copy(template, directory / "chat_template.jinja")
    convert(directory, directory / "z1.gguf", ConvertOptions(types=TypeChoices(type="F32")))
    with GLM(directory / "z1.gguf", n_ctx=1024, options=EXACT) as opened:
        yield opened


def begun(messages: list[dict[str, Any]], content: str, **fields: Any) -> list[dict[str, Any]]:
    return [*messages, {"role": "assistant", "content": content, **fields}]


@pytest.mark.parametrize("length", [5, 6, 10, 14])
def test_an_answer_goes_on_where_it_was_cut(glm: GLM, length: int) -> None:
    whole = glm.chat(HELLO, sampling=GREEDY).content
    start = whole[:length].rstrip()
    rest = glm.chat(begun(HELLO, start), sampling=GREEDY, continue_final_message=True)
    prompt = glm.detokenize(glm.prompt_ids(begun(HELLO, start), continue_final_message=True))
    assert prompt.endswith(f"<|user|>\nHello<|assistant|>\n{start}")
    assert start + rest.content == whole


def test_without_the_flag_a_new_turn_begins(glm: GLM) -> None:
    assert glm.detokenize(glm.prompt_ids(begun(HELLO, "Hi"))).endswith("<|assistant|>\nHi<|assistant|>")


def test_a_json_value_goes_on_and_ends_valid(glm: GLM) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"enum": ["x", "y"]}},
        "required": ["a"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"schema": schema}}
    start = '{"a": '
    rest = glm.chat(begun(HELLO, start), sampling=GREEDY, continue_final_message=True, response_format=form)
    assert json.loads(start + rest.content)["a"] in ("x", "y")


def test_what_the_grammar_leaves_to_the_check_is_checked_of_the_whole_value(glm: GLM) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "not": {"const": 3}}}, "required": ["n"]}
    form = {"type": "json_schema", "json_schema": {"schema": schema | {"additionalProperties": False}}}
    result = glm.chat(begun(HELLO, '{"n": 4'), sampling=GREEDY, continue_final_message=True, response_format=form)
    assert result.unenforced is not None
    assert json.loads('{"n": 4' + result.content)["n"] != 3


@pytest.mark.parametrize("start", ["Sure: ", '{"b": ', '{"a": "x"}'], ids=["prose", "another name", "whole already"])
def test_what_no_format_allows_is_refused_by_name(glm: GLM, start: str) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"schema": schema}}
    with pytest.raises(RequestError, match="response_format"):
        glm.chat(begun(HELLO, start), sampling=GREEDY, continue_final_message=True, response_format=form)


def test_a_begun_answer_may_be_followed_by_a_call_but_is_none(glm: GLM) -> None:
    result = glm.chat(begun(WEATHER, "Let me"), TOOLS, GREEDY, continue_final_message=True)
    assert not result.content.startswith("Let me")
    with pytest.raises(RequestError, match="tool_choice"):
        glm.chat(begun(WEATHER, "Let"), TOOLS, GREEDY, continue_final_message=True, tool_choice="required")


@pytest.mark.parametrize(
    ("last", "what"),
    [
        ({"role": "user", "content": "Hello"}, "only a message of the assistant"),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}, "a call cannot"),
    ],
    ids=["user", "call"],
)
def test_only_text_of_the_assistant_goes_on(glm: GLM, last: dict[str, Any], what: str) -> None:
    with pytest.raises(RequestError, match=what) as error:
        glm.chat([*HELLO, last], sampling=GREEDY, continue_final_message=True)
    assert error.value.field == "messages[1]"


def test_a_thought_is_closed_before_an_answer_that_was_begun(thinking: GLM) -> None:
    prompt = thinking.detokenize(thinking.prompt_ids(begun(HELLO, "Hel"), continue_final_message=True))
    assert prompt.endswith("<|assistant|>\n<think>\n</think>\nHel")
    result = thinking.chat(begun(HELLO, "Hel"), sampling=GREEDY, continue_final_message=True)
    assert result.reasoning == ""
    assert result.usage.reasoning_tokens == 0
    assert not result.content.startswith("\n")


def test_a_thought_goes_on_too(thinking: GLM) -> None:
    whole = thinking.chat(HELLO, sampling=GREEDY)
    start = whole.reasoning[:10]
    messages = begun(HELLO, "", reasoning_content=start)
    rest = thinking.chat(messages, sampling=GREEDY, continue_final_message=True)
    assert (start + rest.reasoning, rest.content) == (whole.reasoning, whole.content)
    spelled = thinking.chat(begun(HELLO, f"<think>\n{start}"), sampling=GREEDY, continue_final_message=True)
    assert (spelled.reasoning, spelled.content) == (rest.reasoning, rest.content)


def test_a_thought_stands_before_the_answer_that_goes_on(thinking: GLM) -> None:
    messages = begun(HELLO, "Hello!", reasoning_content="It greets.")
    prompt = thinking.detokenize(thinking.prompt_ids(messages, continue_final_message=True))
    assert prompt.endswith("<think>\nIt greets.\n</think>\nHello!")


@pytest.mark.parametrize("options", [{}, {"response_format": {"type": "choice", "choices": ["Yes", "No"]}}], ids=str)
def test_one_token_is_one_that_shows(glm: GLM, options: Any) -> None:
    asked = SamplingParams(temperature=0, max_tokens=1, logprobs=5)
    result = glm.chat(HELLO, sampling=asked, **options)
    (token,) = result.logprobs
    assert result.content
    assert token.token.decode() == result.content
    assert len(token.alternatives) == 5
    assert result.usage.completion_tokens == 1
    assert result.usage.prompt_tokens == len(glm.prompt_ids(HELLO))


def test_one_token_shows_where_tools_must_not_be_called(glm: GLM) -> None:
    result = glm.chat(HELLO, TOOLS, SamplingParams(temperature=0, max_tokens=1), tool_choice="none")
    assert result.content


def test_one_token_shows_where_nothing_is_thought(thinking: GLM) -> None:
    result = thinking.chat(HELLO, sampling=SamplingParams(temperature=0, max_tokens=1, thinking_budget=0))
    assert result.content
    assert result.usage.reasoning_tokens == 0


def test_with_tools_the_first_token_still_tells_a_call_from_an_answer(glm: GLM) -> None:
    assert glm.detokenize(glm.prompt_ids(WEATHER, TOOLS)).endswith("<|assistant|>")
    assert glm.chat(WEATHER, TOOLS, GREEDY).tool_calls


def test_the_template_itself_stays_as_it_is(glm: GLM) -> None:
    assert glm.apply_template(HELLO).endswith("<|assistant|>")
