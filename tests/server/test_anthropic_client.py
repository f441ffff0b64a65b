"""Anthropic's Python client: whole answers, streams, its helpers, tool loops and errors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Literal

import anthropic
import pytest
from pydantic import BaseModel
from server.questions import HELLO, TOOLS, TWO_CITIES, WEATHER
from server.serving import Served

from glm_gguf.chat.tools import result_text
from glm_gguf.demo.tools import FUNCTIONS

GREEDY: dict[str, Any] = {"model": "tiny", "max_tokens": 120, "extra_body": {"temperature": 0}}
DEMO_TOOLS: list[Any] = [
    {"name": name, "description": tool["function"]["description"], "input_schema": tool["function"]["parameters"]}
    for name, tool in TOOLS.items()
]
AQI = [tool for tool in DEMO_TOOLS if tool["name"] == "realtime_aqi"]


@pytest.fixture
def claude(served: Served) -> Iterator[anthropic.Anthropic]:
    """The client."""
    with anthropic.Anthropic(base_url=served.url, api_key="none", max_retries=0) as made:
        yield made


class Level(BaseModel):
    """A value that is short in every form."""

    level: Literal["good", "bad"]


def comparable(message: anthropic.types.Message) -> dict[str, Any]:
    """Return a message without its ids."""
    told = message.to_dict()
    for block in told["content"]:
        block.pop("id", None)
        block.pop("citations", None)
    usage = message.usage
    prompt = usage.input_tokens + (usage.cache_read_input_tokens or 0)
    told |= {"id": "", "stop_details": None, "usage": (prompt, usage.output_tokens)}
    return told


def results_of(message: anthropic.types.Message) -> list[Any]:
    """Run the calls of a message."""
    return [
        {"type": "tool_result", "tool_use_id": block.id, "content": result_text(FUNCTIONS[block.name](**block.input))}
        for block in message.content
        if block.type == "tool_use"
    ]


def test_an_answer_has_anthropics_form(claude: anthropic.Anthropic) -> None:
    message = claude.messages.create(messages=HELLO, **GREEDY)
    assert (message.type, message.role, message.model) == ("message", "assistant", "tiny")
    assert message.id.startswith("msg_")
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    (block,) = message.content
    assert block.type == "text"
    assert block.text
    assert message.usage.output_tokens > 1
    assert message._request_id


def test_a_tool_loop_comes_to_its_end(claude: anthropic.Anthropic) -> None:
    history: list[Any] = list(TWO_CITIES)
    calls = claude.messages.create(messages=history, tools=AQI, **GREEDY)
    assert calls.stop_reason == "tool_use"
    assert [block.input for block in calls.content if block.type == "tool_use"] == [{"city": "北京"}, {"city": "上海"}]
    results = [*reversed(results_of(calls)), {"type": "text", "text": "请回答。"}]
    told = [{"role": "assistant", "content": calls.content}, {"role": "user", "content": results[:2]}]
    answer = claude.messages.create(messages=[*history, *told], tools=AQI, **GREEDY)
    (text,) = answer.content
    assert text.type == "text"
    assert "10" in text.text
    assert "72" in text.text


def test_a_tool_runner_comes_to_its_end(claude: anthropic.Anthropic) -> None:
    @anthropic.beta_tool
    def get_weather(city: str) -> str:
        """Weather of a city"""
        return result_text(FUNCTIONS["get_weather"](city))

    runner = claude.beta.messages.tool_runner(messages=WEATHER, tools=[get_weather], **GREEDY)
    last = runner.until_done()
    weather = FUNCTIONS["get_weather"]("Paris")
    assert str(weather["temperature"]) in last.content[0].text


QUESTIONS = {"text": (HELLO, []), "a call": (WEATHER, DEMO_TOOLS), "two calls": (TWO_CITIES, AQI)}


@pytest.mark.parametrize(("messages", "tools"), QUESTIONS.values(), ids=QUESTIONS.keys())
def test_a_stream_holds_what_the_whole_answer_does(claude: anthropic.Anthropic, messages: Any, tools: Any) -> None:
    whole = claude.messages.create(messages=messages, tools=tools, **GREEDY)
    with claude.messages.stream(messages=messages, tools=tools, **GREEDY) as stream:
        text = "".join(stream.text_stream)
        streamed = stream.get_final_message()
    assert comparable(streamed) == comparable(whole)
    assert text == "".join(block.text for block in whole.content if block.type == "text")


def test_a_call_cut_by_the_length_keeps_its_beginning(claude: anthropic.Anthropic) -> None:
    short = {**GREEDY, "max_tokens": 6}
    whole = claude.messages.create(messages=WEATHER, tools=DEMO_TOOLS, **short)
    with claude.messages.stream(messages=WEATHER, tools=DEMO_TOOLS, **short) as stream:
        assert comparable(stream.get_final_message()) == comparable(whole)
    assert whole.stop_reason == "max_tokens"
    assert [block.type for block in whole.content] == ["tool_use"]


def test_the_asynchronous_client(served: Served) -> None:
    async def ask() -> tuple[str, anthropic.types.Message]:
        async with anthropic.AsyncAnthropic(base_url=served.url, api_key="none") as client:
            whole = await client.messages.create(messages=HELLO, **GREEDY)
            async with client.messages.stream(messages=HELLO, **GREEDY) as stream:
                return "".join([text async for text in stream.text_stream]), whole

    text, whole = asyncio.run(ask())
    assert text == whole.content[0].text


def test_system_and_its_cache_control(claude: anthropic.Anthropic) -> None:
    system: Any = [{"type": "text", "text": "You answer briefly.", "cache_control": {"type": "ephemeral"}}]
    assert claude.messages.create(messages=HELLO, system=system, **GREEDY).stop_reason == "end_turn"


def test_a_stop_sequence_is_told(claude: anthropic.Anthropic) -> None:
    whole = claude.messages.create(messages=HELLO, **GREEDY).content[0].text
    stop = whole[3:6]
    message = claude.messages.create(messages=HELLO, stop_sequences=["no such text", stop], **GREEDY)
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", stop)
    assert message.content[0].text == whole[: whole.index(stop)]


CHOICES: dict[str, tuple[Any, list[str]]] = {
    "any": ({"type": "any", "disable_parallel_tool_use": True}, ["tool_use"]),
    "tool": ({"type": "tool", "name": "add", "disable_parallel_tool_use": True}, ["tool_use"]),
    "none": ({"type": "none"}, ["text"]),
}


@pytest.mark.parametrize(("choice", "kinds"), CHOICES.values(), ids=CHOICES.keys())
def test_tool_choices_hold(claude: anthropic.Anthropic, choice: Any, kinds: list[str]) -> None:
    message = claude.messages.create(messages=HELLO, tools=DEMO_TOOLS, tool_choice=choice, **GREEDY)
    assert [block.type for block in message.content] == kinds
    if choice["type"] == "tool":
        assert message.content[0].name == "add"


def test_parallel_calls_can_be_disabled(claude: anthropic.Anthropic) -> None:
    choice: Any = {"type": "auto", "disable_parallel_tool_use": True}
    message = claude.messages.create(messages=TWO_CITIES, tools=AQI, tool_choice=choice, **GREEDY)
    assert [block.type for block in message.content] == ["tool_use"]


def test_an_answer_of_a_pydantic_model(claude: anthropic.Anthropic) -> None:
    parsed = claude.messages.parse(messages=HELLO, output_format=Level, **GREEDY)
    assert isinstance(parsed.parsed_output, Level)
    with claude.messages.stream(messages=HELLO, output_format=Level, **GREEDY) as stream:
        assert stream.get_final_message().parsed_output == parsed.parsed_output


def test_tokens_are_counted_as_they_are_read(claude: anthropic.Anthropic) -> None:
    counted = claude.messages.count_tokens(model="tiny", messages=WEATHER, tools=DEMO_TOOLS)
    usage = claude.messages.create(messages=WEATHER, tools=DEMO_TOOLS, **GREEDY).usage
    assert counted.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)
    again = claude.messages.create(messages=WEATHER, tools=DEMO_TOOLS, **GREEDY).usage
    assert again.cache_read_input_tokens


def test_a_stream_begins_with_the_prompts_length(claude: anthropic.Anthropic) -> None:
    with claude.messages.create(messages=HELLO, stream=True, **GREEDY) as stream:
        first = next(iter(stream))
    assert first.type == "message_start"
    assert first.message.usage.input_tokens == claude.messages.count_tokens(model="t", messages=HELLO).input_tokens


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_answer_that_was_begun_goes_on(claude: anthropic.Anthropic, stream: bool) -> None:
    whole = claude.messages.create(messages=HELLO, **GREEDY).content[0]
    assert whole.type == "text"
    begun: Any = [*HELLO, {"role": "assistant", "content": whole.text[:6]}]
    if stream:
        with claude.messages.stream(messages=begun, **GREEDY) as events:
            rest = events.get_final_message()
    else:
        rest = claude.messages.create(messages=begun, **GREEDY)
    assert (rest.content[0].type, rest.stop_reason) == ("text", "end_turn")
    assert rest.content[0].text == whole.text[6:]
    counted = claude.messages.count_tokens(model="tiny", messages=begun).input_tokens
    assert counted == rest.usage.input_tokens + (rest.usage.cache_read_input_tokens or 0)


IMAGE: Any = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
ERRORS: dict[str, tuple[dict[str, Any], type[anthropic.APIStatusError], str]] = {
    "an image": ({"messages": [{"role": "user", "content": [IMAGE]}]}, anthropic.BadRequestError, "'image'"),
    "a wrong type": ({"extra_body": {"max_tokens": "many"}}, anthropic.BadRequestError, "max_tokens"),
    "a tool that is not there": (
        {"tools": AQI, "tool_choice": {"type": "tool", "name": "x"}},
        anthropic.BadRequestError,
        "tool_choice",
    ),
    "a schema that no grammar enforces": (
        {"tools": [{"name": "f", "strict": True, "input_schema": {"$ref": "https://example.org/a.json"}}]},
        anthropic.BadRequestError,
        "tools[0].input_schema",
    ),
    "a long prompt": (
        {"messages": [{"role": "user", "content": "long " * 5000}]},
        anthropic.BadRequestError,
        "prompt is too long: ",
    ),
}


@pytest.mark.parametrize(("fields", "kind", "what"), ERRORS.values(), ids=ERRORS.keys())
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_errors_are_anthropics(
    claude: anthropic.Anthropic, fields: Any, kind: type[anthropic.APIStatusError], what: str, stream: bool
) -> None:
    with pytest.raises(kind) as caught:
        claude.messages.create(**{**GREEDY, "messages": HELLO, **fields}, stream=stream)
    body: Any = caught.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] == "invalid_request_error"
    assert what in body["error"]["message"]


def test_an_unknown_url_is_told_in_anthropics_form(claude: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        claude.messages.batches.list()
    body: Any = caught.value.body
    assert body["error"]["type"] == "not_found_error"
