"""OpenAI's Python client on the Responses API: whole answers, streams, its helpers, tool loops and errors."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest
from openai.types.responses import Response
from server.questions import HELLO, TOOLS, TWO_CITIES, WEATHER, GetWeather, Verdict
from server.serving import Served

from glm_gguf.chat.tools import result_text
from glm_gguf.demo.tools import FUNCTIONS

GREEDY: dict[str, Any] = {"model": "tiny", "temperature": 0, "max_output_tokens": 120}
DEMO_TOOLS: list[Any] = [{"type": "function", **tool["function"]} for tool in TOOLS.values()]
AQI = [tool for tool in DEMO_TOOLS if tool["name"] == "realtime_aqi"]


def comparable(response: Response) -> dict[str, Any]:
    """Return a response without its ids and times."""
    told: Any = response.to_dict()
    for item in told["output"]:
        item.pop("parsed_arguments", None)
        for part in item.get("content", ()):
            part.pop("parsed", None)
    told["output"] = [{**item, "id": "", "call_id": ""} for item in told["output"]]
    told["usage"].pop("input_tokens_details")
    return {**told, "id": "", "created_at": 0}


def results_of(response: Response) -> list[Any]:
    """Run the calls of a response."""
    return [
        {
            "type": "function_call_output",
            "call_id": item.call_id,
            "output": result_text(FUNCTIONS[item.name](**json.loads(item.arguments))),
        }
        for item in response.output
        if item.type == "function_call"
    ]


def test_an_answer_has_openais_form(client: openai.OpenAI) -> None:
    response = client.responses.create(input="Hello", **GREEDY)
    assert (response.object, response.status, response.model) == ("response", "completed", "tiny")
    assert response.id.startswith("resp_")
    (item,) = response.output
    assert (item.type, item.status) == ("message", "completed")
    assert response.output_text
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    assert response._request_id


def test_a_tool_loop_comes_to_its_end(client: openai.OpenAI) -> None:
    calls = client.responses.create(input=TWO_CITIES, tools=AQI, **GREEDY)
    made = [json.loads(item.arguments) for item in calls.output if item.type == "function_call"]
    assert made == [{"city": "北京"}, {"city": "上海"}]
    history: Any = [*TWO_CITIES, *calls.output, *reversed(results_of(calls))]
    answer = client.responses.create(input=history, tools=AQI, **GREEDY)
    assert "10" in answer.output_text
    assert "72" in answer.output_text


QUESTIONS = {"text": (HELLO, []), "a call": (WEATHER, DEMO_TOOLS), "two calls": (TWO_CITIES, AQI)}


@pytest.mark.parametrize(("items", "tools"), QUESTIONS.values(), ids=QUESTIONS.keys())
@pytest.mark.parametrize("logprobs", [None, 2])
def test_a_stream_holds_what_the_whole_answer_does(
    client: openai.OpenAI, items: Any, tools: Any, logprobs: int | None
) -> None:
    asked = {**GREEDY, "input": items, "tools": tools, "top_logprobs": logprobs}
    client.responses.create(
        **asked
    )  # so that both find the same in the KV cache: batches of other sizes round otherwise
    whole = client.responses.create(**asked)
    with client.responses.stream(**asked) as stream:
        events = list(stream)
        streamed = stream.get_final_response()
    assert comparable(streamed) == comparable(whole)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == whole.output_text


def test_log_probabilities_spell_the_text(client: openai.OpenAI) -> None:
    response = client.responses.create(input="Hello", include=["message.output_text.logprobs"], **GREEDY)
    part: Any = response.output[0].content[0]
    spelt = b"".join(bytes(token.bytes) for token in part.logprobs)
    assert spelt.strip() == response.output_text.encode()
    assert all(token.logprob <= 0 for token in part.logprobs)


def test_a_call_cut_by_the_length_is_incomplete(client: openai.OpenAI) -> None:
    asked: Any = {**GREEDY, "max_output_tokens": 6, "input": WEATHER, "tools": DEMO_TOOLS}
    response = client.responses.create(**asked)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert [(item.type, item.status) for item in response.output] == [("function_call", "incomplete")]
    with client.responses.stream(**asked) as stream:
        last = list(stream)[-1]
    assert last.type == "response.incomplete"
    assert comparable(last.response) == comparable(response)


def test_the_asynchronous_client(served: Served) -> None:
    async def ask() -> tuple[str, str]:
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none") as client:
            whole = await client.responses.create(input="Hello", **GREEDY)
            async with client.responses.stream(input="Hello", **GREEDY) as stream:
                return (await stream.get_final_response()).output_text, whole.output_text

    streamed, whole = asyncio.run(ask())
    assert streamed == whole


def test_an_answer_of_a_pydantic_model(client: openai.OpenAI) -> None:
    parsed = client.responses.parse(input="Hello", text_format=Verdict, **GREEDY)
    assert isinstance(parsed.output_parsed, Verdict)
    with client.responses.stream(input="Hello", text_format=Verdict, **GREEDY) as stream:
        assert stream.get_final_response().output_parsed == parsed.output_parsed


def test_a_pydantic_tool(client: openai.OpenAI) -> None:
    tool: Any = openai.pydantic_function_tool(GetWeather, name="get_weather", description="Weather of a city")
    flat = {"type": "function", **tool["function"]}
    response = client.responses.parse(input=WEATHER, tools=[flat], **GREEDY)
    assert [item.parsed_arguments for item in response.output if item.type == "function_call"] == [{"city": "Paris"}]


def test_json_mode(client: openai.OpenAI) -> None:
    response = client.responses.create(
        input="Hello", text={"format": {"type": "json_object"}}, **{**GREEDY, "max_output_tokens": 300}
    )
    if response.status == "completed":  # the tiny model may not find the end
        assert isinstance(json.loads(response.output_text), dict)
    assert response.output_text.lstrip().startswith("{")


CHOICES: dict[str, tuple[Any, list[str]]] = {
    "required": ("required", ["function_call"]),
    "none": ("none", ["message"]),
    "by name": ({"type": "function", "name": "add"}, ["function_call"]),
    "one of some": (
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "add"}]},
        ["function_call"],
    ),
}


@pytest.mark.parametrize(("choice", "kinds"), CHOICES.values(), ids=CHOICES.keys())
def test_tool_choices_hold(client: openai.OpenAI, choice: Any, kinds: list[str]) -> None:
    response = client.responses.create(
        input="Hello", tools=DEMO_TOOLS, tool_choice=choice, parallel_tool_calls=False, **GREEDY
    )
    assert [item.type for item in response.output] == kinds
    if isinstance(choice, dict):
        assert response.output[0].name == "add"


def test_tokens_are_counted_as_they_are_read(client: openai.OpenAI) -> None:
    counted = client.responses.input_tokens.count(input="Hello", instructions="Be brief.", tools=DEMO_TOOLS)
    answered = client.responses.create(input="Hello", instructions="Be brief.", tools=DEMO_TOOLS, **GREEDY)
    assert counted.object == "response.input_tokens"
    assert answered.usage is not None
    assert counted.input_tokens == answered.usage.input_tokens


def test_instructions_come_first(client: openai.OpenAI) -> None:
    told = client.responses.create(input="Hello", instructions="You answer briefly.", **GREEDY)
    typed: Any = [{"role": "system", "content": "You answer briefly."}, *HELLO]
    same = client.responses.create(input=typed, **GREEDY)
    assert (told.output_text, told.usage and told.usage.input_tokens) == (
        same.output_text,
        same.usage and same.usage.input_tokens,
    )


IMAGE: Any = {"role": "user", "content": [{"type": "input_image", "image_url": "https://example.org/a.png"}]}
REMOTE = {"$ref": "https://example.org/a.json"}
ERRORS: dict[str, tuple[dict[str, Any], str]] = {
    "an image": ({"input": [IMAGE]}, "input[0].content[0].type"),
    "a choice of a built-in tool": ({"tool_choice": {"type": "web_search"}}, "tool_choice"),
    "no conversation": ({"input": []}, "input"),
    "an earlier response": ({"previous_response_id": "resp_1"}, "previous_response_id"),
    "a wrong type": ({"max_output_tokens": "many"}, "max_output_tokens"),
    "a function that is not there": ({"tools": AQI, "tool_choice": {"type": "function", "name": "x"}}, "tool_choice"),
    "a schema that no grammar enforces": (
        {"tools": [{"type": "function", "name": "f", "parameters": REMOTE, "strict": True}]},
        "tools[0].parameters",
    ),
    "a form that no grammar enforces": (
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": REMOTE, "strict": True}}},
        "text.format.schema",
    ),
    "an unknown form": ({"text": {"format": {"type": "poem"}}}, "text.format"),
}


@pytest.mark.parametrize(("fields", "param"), ERRORS.values(), ids=ERRORS.keys())
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_errors_name_the_field(client: openai.OpenAI, fields: Any, param: str, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(**{**GREEDY, "input": "Hello", **fields}, stream=stream)
    assert caught.value.param is not None
    assert caught.value.param.startswith(param)
    assert caught.value.message.find(param) >= 0


def test_nothing_is_stored(client: openai.OpenAI) -> None:
    made = client.responses.create(input="Hello", **GREEDY)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)
