"""A thought of a GLM-Z1 reaches clients in their API's form, and only on request."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from server.questions import HELLO
from server.serving import Served, serving

import glm_gguf
from glm_gguf import GLM, EngineOptions
from glm_gguf.convert import ConvertOptions, TypeChoices, convert
from glm_gguf.server.settings import ServerSettings

PACKAGE = Path(glm_gguf.__file__).parent
THOUGHT = "This needs no tool."
ANSWER = "Hello! How can I help you?"
GREEDY: dict[str, Any] = {"model": "tiny", "temperature": 0}
CLAUDE: dict[str, Any] = {"model": "tiny", "max_tokens": 100, "messages": HELLO, "extra_body": {"temperature": 0}}


@pytest.fixture(scope="module")
def thinking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with the tiny model and Z1's template, which opens a thought."""
    directory = tmp_path_factory.mktemp("z1")
    shutil.copytree(PACKAGE / "demo" / "checkpoint", directory / "z1")
    shutil.copy(PACKAGE / "chat" / "glm-z1-0414.jinja", directory / "z1" / "chat_template.jinja")
    convert(directory / "z1", directory / "z1.gguf", ConvertOptions(types=TypeChoices(type="Q8_0")))
    path: Path = directory / "z1.gguf"
    with serving(ServerSettings("z1"), lambda: GLM(path, options=EngineOptions(threads=1, n_ctx=2048))) as running:
        yield running


@pytest.fixture
def gpt(thinking: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{thinking.url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture
def claude(thinking: Served) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=thinking.url, api_key="none", max_retries=0) as made:
        yield made


def test_responses_hold_it_as_it_is(gpt: openai.OpenAI) -> None:
    response = gpt.responses.create(input="Hello", **GREEDY)
    reasoning, message = response.output
    assert reasoning.content[0].text == THOUGHT
    assert reasoning.summary == []
    assert message.type == "message"
    assert response.output_text == ANSWER
    assert response.usage.output_tokens_details.reasoning_tokens > 0


def test_responses_hold_it_as_a_summary_where_one_is_asked_for(gpt: openai.OpenAI) -> None:
    with gpt.responses.stream(input="Hello", reasoning={"summary": "auto"}, **GREEDY) as stream:
        deltas = [event.delta for event in stream if event.type == "response.reasoning_summary_text.delta"]
        response = stream.get_final_response()
    assert "".join(deltas) == response.output[0].summary[0].text == THOUGHT


def test_an_earlier_thought_may_be_given_back(gpt: openai.OpenAI) -> None:
    first = gpt.responses.create(input="Hello", **GREEDY)
    history = [*HELLO, *first.output, *HELLO]
    bare = [*HELLO, {"role": "assistant", "content": ANSWER}, *HELLO]
    again, same = (gpt.responses.create(input=items, **GREEDY) for items in (history, bare))
    assert again.usage.input_tokens == same.usage.input_tokens
    assert again.output_text == same.output_text


def test_without_effort_there_is_none(gpt: openai.OpenAI) -> None:
    response = gpt.responses.create(input="Hello", reasoning={"effort": "none"}, **GREEDY)
    assert [item.type for item in response.output] == ["message"]
    chat = gpt.chat.completions.create(model="tiny", messages=HELLO, reasoning_effort="none", temperature=0)
    assert chat.choices[0].message.content == response.output_text
    assert not hasattr(chat.choices[0].message, "reasoning_content")


@pytest.mark.parametrize("thoughts", [{"type": "enabled", "budget_tokens": 1024}, {"type": "adaptive"}])
def test_messages_hold_it_in_a_block(claude: anthropic.Anthropic, thoughts: Any) -> None:
    message = claude.messages.create(thinking=thoughts, **CLAUDE)
    block, text = message.content
    assert (block.type, block.thinking, text.text) == ("thinking", THOUGHT, ANSWER)
    assert block.signature
    assert message.usage.output_tokens_details.thinking_tokens > 0
    with claude.messages.stream(thinking=thoughts, **CLAUDE) as stream:
        events = list(stream)
        streamed = stream.get_final_message()
    assert streamed.to_dict()["content"] == message.to_dict()["content"]
    assert "".join(event.thinking for event in events if event.type == "thinking") == THOUGHT


@pytest.mark.parametrize("fields", [{}, {"thinking": {"type": "disabled"}}], ids=["not asked for", "disabled"])
def test_messages_hide_it_from_who_asks_for_none(claude: anthropic.Anthropic, fields: Any) -> None:
    message = claude.messages.create(**CLAUDE, **fields)
    assert [block.type for block in message.content] == ["text"]


def test_a_block_goes_back_into_the_history(claude: anthropic.Anthropic) -> None:
    first = claude.messages.create(thinking={"type": "adaptive"}, **CLAUDE)
    history: Any = [*HELLO, {"role": "assistant", "content": first.content}, *HELLO]
    bare: Any = [*HELLO, {"role": "assistant", "content": ANSWER}, *HELLO]
    counts = [claude.messages.count_tokens(model="tiny", messages=turns).input_tokens for turns in (history, bare)]
    assert counts[0] == counts[1]
