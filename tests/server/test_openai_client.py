"""OpenAI's Python client: whole answers, streams, its helpers and errors."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest
from server.questions import HELLO, TOOLS, TWO_CITIES, WEATHER, GetWeather, Verdict
from server.serving import Served

from glm_gguf.demo.tools import get_weather

AQI = [TOOLS["realtime_aqi"]]
GREEDY: dict[str, Any] = {"model": "tiny", "temperature": 0, "max_tokens": 120}


def test_an_answer_has_openais_form(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(messages=HELLO, **GREEDY)
    (choice,) = answer.choices
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert (choice.index, choice.finish_reason, choice.logprobs) == (0, "stop", None)
    assert (choice.message.role, choice.message.refusal, choice.message.tool_calls) == ("assistant", None, None)
    assert choice.message.content
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.system_fingerprint
    assert answer._request_id


def test_a_model_calls_a_tool_and_tells_its_result(client: openai.OpenAI) -> None:
    calls = client.chat.completions.create(messages=TWO_CITIES, tools=AQI, **GREEDY).choices[0]
    assert calls.finish_reason == "tool_calls"
    assert calls.message.content is None
    made = calls.message.tool_calls or []
    assert [json.loads(call.function.arguments) for call in made] == [{"city": "北京"}, {"city": "上海"}]
    assert len({call.id for call in made}) == 2
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": f'{{"city": "{city}", "aqi": {aqi}, "level": "优"}}'}
        for call, city, aqi in zip(made, ("北京", "上海"), (10, 72), strict=True)
    ]
    history: Any = [*TWO_CITIES, calls.message, *reversed(results)]
    answer = client.chat.completions.create(messages=history, tools=AQI, **GREEDY).choices[0]
    assert answer.finish_reason == "stop"
    assert "10" in (answer.message.content or "")
    assert "72" in (answer.message.content or "")


@pytest.mark.parametrize("messages", [HELLO, TWO_CITIES], ids=["text", "calls"])
@pytest.mark.parametrize("logprobs", [None, True])
def test_a_stream_holds_what_the_whole_answer_does(client: openai.OpenAI, messages: Any, logprobs: bool | None) -> None:
    asked = {**GREEDY, "tools": AQI, "logprobs": logprobs}
    whole = client.chat.completions.create(messages=messages, **asked)
    with client.chat.completions.stream(messages=messages, stream_options={"include_usage": True}, **asked) as stream:
        streamed = stream.get_final_completion()
    message, other = whole.choices[0].message, streamed.choices[0].message
    assert other.content == message.content
    assert [call.function.model_dump(include={"name", "arguments"}) for call in other.tool_calls or []] == [
        call.function.model_dump(include={"name", "arguments"}) for call in message.tool_calls or []
    ]
    assert streamed.choices[0].finish_reason == whole.choices[0].finish_reason
    assert streamed.usage is not None
    assert whole.usage is not None
    assert streamed.usage.completion_tokens == whole.usage.completion_tokens
    pieces = [(choice.logprobs and choice.logprobs.content) or [] for choice in (whole.choices[0], streamed.choices[0])]
    assert [token.token for token in pieces[0]] == [token.token for token in pieces[1]]


def test_the_chunks_of_a_stream_follow_openais_order(client: openai.OpenAI) -> None:
    options: Any = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(messages=TWO_CITIES, tools=AQI, stream=True, stream_options=options, **GREEDY)
    )
    assert {(chunk.id, chunk.object, chunk.created, chunk.model) for chunk in chunks} == {
        (chunks[0].id, "chat.completion.chunk", chunks[0].created, "tiny")
    }
    first, *middle, last, counts = chunks
    assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", None)
    assert not any(chunk.choices[0].delta.role for chunk in middle)
    assert (last.choices[0].delta.model_dump(exclude_none=True), last.choices[0].finish_reason) == ({}, "tool_calls")
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert counts.choices == []
    assert counts.usage is not None
    starts = [call for chunk in middle for call in chunk.choices[0].delta.tool_calls or [] if call.id]
    assert [(call.index, call.type, call.function and call.function.name) for call in starts] == [
        (0, "function", "realtime_aqi"),
        (1, "function", "realtime_aqi"),
    ]


def test_parse_makes_models_of_calls(client: openai.OpenAI) -> None:
    tool = openai.pydantic_function_tool(GetWeather, name="get_weather", description="Weather of a city")
    parsed = client.chat.completions.parse(messages=WEATHER, tools=[tool], **GREEDY)
    (call,) = parsed.choices[0].message.tool_calls or []
    assert call.function.parsed_arguments == GetWeather(city="Paris")


def test_parse_makes_a_model_of_the_answer(client: openai.OpenAI) -> None:
    parsed = client.chat.completions.parse(messages=HELLO, response_format=Verdict, **GREEDY)
    assert isinstance(parsed.choices[0].message.parsed, Verdict)


def test_the_stream_helper_parses_as_well(client: openai.OpenAI) -> None:
    tool = openai.pydantic_function_tool(GetWeather, name="get_weather", description="Weather of a city")
    with client.chat.completions.stream(messages=WEATHER, tools=[tool], **GREEDY) as stream:
        kinds = {event.type for event in stream}
        (call,) = stream.get_final_completion().choices[0].message.tool_calls or []
    assert call.function.parsed_arguments == GetWeather(city="Paris")
    assert {"chunk", "tool_calls.function.arguments.delta", "tool_calls.function.arguments.done"} <= kinds
    with client.chat.completions.stream(messages=HELLO, response_format=Verdict, **GREEDY) as stream:
        assert isinstance(stream.get_final_completion().choices[0].message.parsed, Verdict)


def test_an_answer_that_is_cut_says_so(client: openai.OpenAI) -> None:
    cut = {**GREEDY, "max_tokens": 4}
    assert client.chat.completions.create(messages=HELLO, **cut).choices[0].finish_reason == "length"
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(messages=HELLO, response_format=Verdict, **{**GREEDY, "max_tokens": 2})


def test_a_call_that_is_cut_in_a_stream_ends_with_length(client: openai.OpenAI) -> None:
    asked: Any = {**GREEDY, "max_tokens": 8, "tools": AQI, "tool_choice": "required"}
    whole = client.chat.completions.create(messages=TWO_CITIES, **asked).choices[0]
    assert (whole.finish_reason, whole.message.tool_calls) == ("length", None)
    chunks = [chunk.choices[0] for chunk in client.chat.completions.create(messages=TWO_CITIES, stream=True, **asked)]
    assert chunks[-1].finish_reason == "length"
    assert not any(chunk.delta.content for chunk in chunks)
    assert any(chunk.delta.tool_calls for chunk in chunks)


def test_tool_choice_and_parallel_calls_hold(client: openai.OpenAI) -> None:
    both: Any = [TOOLS["add"], TOOLS["realtime_aqi"]]
    named: Any = {"type": "function", "function": {"name": "add"}}
    call = client.chat.completions.create(messages=TWO_CITIES, tools=both, tool_choice=named, **GREEDY).choices[0]
    assert {made.function.name for made in call.message.tool_calls or []} == {"add"}
    none = client.chat.completions.create(messages=TWO_CITIES, tools=both, tool_choice="none", **GREEDY).choices[0]
    assert (none.finish_reason, none.message.tool_calls) == ("stop", None)
    one = client.chat.completions.create(messages=TWO_CITIES, tools=AQI, parallel_tool_calls=False, **GREEDY).choices[0]
    assert len(one.message.tool_calls or []) == 1


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_of_allowed_tools_only_those_are_called(client: openai.OpenAI, mode: Any) -> None:
    some: Any = {"mode": mode, "tools": [{"type": "function", "function": {"name": "get_weather"}}]}
    tools: Any = list(TOOLS.values())
    choice: Any = {"type": "allowed_tools", "allowed_tools": some}
    answer = client.chat.completions.create(messages=WEATHER, tools=tools, tool_choice=choice, **GREEDY)
    assert {call.function.name for call in answer.choices[0].message.tool_calls or []} == {"get_weather"}
    alone = client.chat.completions.create(messages=WEATHER, tools=[TOOLS["get_weather"]], **GREEDY)  # type: ignore[list-item]
    assert answer.usage is not None
    assert alone.usage is not None
    assert answer.usage.prompt_tokens == alone.usage.prompt_tokens
    some["tools"] += [{"type": "function", "function": {"name": "none"}}]
    with pytest.raises(openai.BadRequestError, match="none"):
        client.chat.completions.create(messages=WEATHER, tools=tools, tool_choice=choice, **GREEDY)


def test_a_refusal_in_the_history_is_text(client: openai.OpenAI) -> None:
    def tokens(said: Any) -> int:
        messages: Any = [*HELLO, {"role": "assistant", "content": said}, *HELLO]
        usage = client.chat.completions.create(messages=messages, **GREEDY).usage
        assert usage is not None
        return usage.prompt_tokens

    assert tokens([{"type": "refusal", "refusal": "I will not."}]) == tokens("I will not.")


def test_functions_of_the_old_form_are_called_in_it(client: openai.OpenAI) -> None:
    functions: Any = [TOOLS["get_weather"]["function"]]
    choice = client.chat.completions.create(messages=WEATHER, functions=functions, **GREEDY).choices[0]
    assert choice.finish_reason == "function_call"
    assert choice.message.function_call is not None
    assert json.loads(choice.message.function_call.arguments) == {"city": "Paris"}
    chunks = list(client.chat.completions.create(messages=WEATHER, functions=functions, stream=True, **GREEDY))
    pieces = [chunk.choices[0].delta.function_call for chunk in chunks]
    assert "".join(piece.arguments or "" for piece in pieces if piece) == choice.message.function_call.arguments
    result: Any = [
        *WEATHER,
        choice.message,
        {"role": "function", "name": "get_weather", "content": json.dumps(get_weather("Paris"))},
    ]
    assert client.chat.completions.create(messages=result, functions=functions, **GREEDY).choices[0].message.content


@pytest.mark.parametrize("stream", [False, True])
def test_several_choices_are_drawn_each_for_itself(client: openai.OpenAI, stream: bool) -> None:
    asked: Any = {"model": "tiny", "temperature": 3.0, "top_p": 1, "seed": 5, "max_tokens": 12, "messages": HELLO}
    alone = [client.chat.completions.create(**{**asked, "seed": 5 + n}).choices[0].message.content for n in range(3)]
    if stream:
        texts = ["", "", ""]
        for chunk in client.chat.completions.create(n=3, stream=True, **asked):
            texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    else:
        texts = [choice.message.content or "" for choice in client.chat.completions.create(n=3, **asked).choices]
    assert texts == alone
    assert len(set(texts)) == 3


def test_log_probabilities_are_those_of_the_visible_text(client: openai.OpenAI) -> None:
    choice = client.chat.completions.create(messages=HELLO, logprobs=True, top_logprobs=3, **GREEDY).choices[0]
    assert choice.logprobs is not None
    tokens = choice.logprobs.content or []
    assert b"".join(bytes(token.bytes or []) for token in tokens).decode() == choice.message.content
    for token in tokens:
        assert len(token.top_logprobs) == 3
        assert token.logprob == token.top_logprobs[0].logprob <= 0


def test_stop_texts_biases_and_lengths_hold(client: openai.OpenAI, served: Served) -> None:
    text = client.chat.completions.create(messages=HELLO, **GREEDY).choices[0].message.content or ""
    stopped = client.chat.completions.create(messages=HELLO, stop=[text[4:7]], **GREEDY).choices[0]
    assert (stopped.message.content, stopped.finish_reason) == (text[:4], "stop")
    banned = {str(token): -100 for token in served.glm.tokenize("Hello")}
    other = client.chat.completions.create(messages=HELLO, logit_bias=banned, **GREEDY).choices[0].message.content
    assert "Hello" not in (other or "")
    most: Any = {"model": "tiny", "max_completion_tokens": 3, "messages": HELLO}
    usage = client.chat.completions.create(**most).usage
    assert usage is not None
    assert usage.completion_tokens == 3


def test_what_a_prompt_shares_with_another_is_counted_as_cached(client: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "The same beginning of a conversation, every time."}]
    client.chat.completions.create(messages=messages, **GREEDY)
    usage = client.chat.completions.create(messages=messages, **GREEDY).usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == usage.prompt_tokens - 1


def test_the_async_client_is_answered_side_by_side(served: Served) -> None:
    questions: Any = [HELLO, WEATHER, TWO_CITIES, HELLO]

    async def ask(client: openai.AsyncOpenAI, messages: Any) -> str | None:
        stream = await client.chat.completions.create(messages=messages, stream=True, **GREEDY)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def ask_all() -> list[str | None]:
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
            return await asyncio.gather(*(ask(client, messages) for messages in questions))

    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none") as client:
        alone = [client.chat.completions.create(messages=one, **GREEDY).choices[0].message.content for one in questions]
    assert asyncio.run(ask_all()) == alone


def test_models_are_listed_and_retrieved(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert client.models.retrieve(model.id) == model
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("other/model")
    assert caught.value.code == "model_not_found"


def test_wrong_requests_are_told_what_is_wrong(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(messages=[{"role": "robot", "content": "?"}], model="tiny")  # type: ignore[list-item]
    assert (caught.value.param, caught.value.type) == ("messages[0].role", "invalid_request_error")
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(messages=HELLO, model="tiny", extra_body={"temperature": "hot"})  # type: ignore[arg-type]
    assert caught.value.param == "temperature"
