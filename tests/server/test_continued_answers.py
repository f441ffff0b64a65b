"""Over HTTP the model continues an answer, and `max_tokens: 1` gives one visible token."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest
from server.questions import HELLO, SHORT, TOOLS, WEATHER
from server.serving import Served, chat

from glm_gguf.server.bodies.ignored_fields import UNENFORCED_HEADER

GOES_ON: dict[str, Any] = {"continue_final_message": True, "add_generation_prompt": False}
GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 40}


def begun(text: str, **message: Any) -> list[dict[str, Any]]:
    return [*HELLO, {"role": "assistant", "content": text, **message}]


def streamed(response: httpx.Response) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def test_an_answer_goes_on_whole_and_streamed(served: Served) -> None:
    whole = chat(served.url, {"messages": HELLO, **GREEDY}).json()["choices"][0]["message"]["content"]
    asked = {"messages": begun(whole[:6]), **GREEDY, **GOES_ON}
    answer = chat(served.url, asked).json()
    assert answer["choices"][0]["message"]["content"] == whole[6:]
    chunks = streamed(chat(served.url, {**asked, "stream": True}))
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == whole[6:]
    counted = httpx.post(f"{served.url}/tokenize", json={"messages": begun(whole[:6]), **GOES_ON}).json()["count"]
    assert answer["usage"]["prompt_tokens"] == counted
    prompt = httpx.post(f"{served.url}/apply-template", json={"messages": begun(whole[:6]), **GOES_ON}).json()["prompt"]
    assert prompt.endswith(f"<|assistant|>\n{whole[:6]}")


@pytest.mark.parametrize("flag", ["prefix", "partial"])
def test_a_message_may_say_of_itself_that_it_goes_on(served: Served, flag: str) -> None:
    ours = chat(served.url, {"messages": begun("Hello!"), **GREEDY, **GOES_ON}).json()
    theirs = chat(served.url, {"messages": begun("Hello!", **{flag: True}), **GREEDY}).json()
    assert theirs["choices"] == ours["choices"]


@pytest.mark.parametrize("flag", ["prefix", "partial"])
def test_so_may_an_item_of_a_response(served: Served, flag: str) -> None:
    ours = chat(served.url, {"messages": begun("Hello!"), **GREEDY, **GOES_ON}).json()
    asked = {"input": begun("Hello!", **{flag: True}), "temperature": 0, "max_output_tokens": 40}
    theirs = httpx.post(f"{served.url}/v1/responses", json=asked).json()
    assert theirs["output"][-1]["content"][0]["text"] == ours["choices"][0]["message"]["content"]
    assert theirs["usage"]["input_tokens"] == ours["usage"]["prompt_tokens"]
    counted = httpx.post(f"{served.url}/v1/responses/input_tokens", json={"input": asked["input"]}).json()
    assert counted["input_tokens"] == ours["usage"]["prompt_tokens"]
    unmarked = httpx.post(f"{served.url}/v1/responses", json={**asked, "input": begun("Hello!", **{flag: False})})
    assert unmarked.json()["usage"]["input_tokens"] > ours["usage"]["prompt_tokens"]


def test_a_call_of_a_response_cannot_be_continued(served: Served) -> None:
    call = {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}
    items = ["Be brief.", *HELLO, call, {"role": "assistant", "content": "So", "partial": True}]
    asked = {"instructions": items[0], "input": items[1:]}
    refused = httpx.post(f"{served.url}/v1/responses", json=asked).json()["error"]
    assert refused["param"] == "input[1]"
    assert "a call cannot be continued" in refused["message"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"stream": True, "stream_options": {"continuous_usage_stats": True}}, "stream_options.continuous_usage_stats"),
        ({"add_generation_prompt": False}, "add_generation_prompt"),
        ({"continue_final_message": True, "add_generation_prompt": True}, "add_generation_prompt"),
        ({"continue_final_message": True, "messages": HELLO}, "messages[0]"),
        ({**GOES_ON, "response_format": {"type": "json_object"}}, "response_format"),
        ({**GOES_ON, "guided_choice": ["Good", "Bad"]}, "guided_choice"),
        ({**GOES_ON, "tools": [TOOLS["get_weather"]], "tool_choice": "required"}, "tool_choice"),
    ],
    ids=str,
)
def test_what_cannot_go_on_is_refused_by_name(served: Served, fields: dict[str, Any], param: str) -> None:
    response = chat(served.url, {"messages": begun("Hello"), **GREEDY, **fields})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


def test_a_value_that_was_begun_ends_valid(served: Served) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 99}}, "required": ["n"]}
    form = {"type": "json_schema", "json_schema": {"schema": schema | {"additionalProperties": False}}}
    answer = chat(served.url, {"messages": begun('{"n": 1'), **GREEDY, **GOES_ON, "response_format": form}).json()
    assert json.loads('{"n": 1' + answer["choices"][0]["message"]["content"])["n"] <= 199


@pytest.mark.parametrize("fields", [{}, {"guided_choice": ["A", "B"]}, {"tools": [], "tool_choice": "none"}], ids=str)
def test_one_token_with_its_likelihood_is_one_that_shows(client: openai.OpenAI, fields: Any) -> None:
    answer = client.chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=1, logprobs=True, top_logprobs=5, temperature=0, extra_body=fields
    )
    (choice,) = answer.choices
    assert choice.message.content
    (token,) = choice.logprobs.content
    assert token.token == choice.message.content
    assert len(token.top_logprobs) == 5
    assert answer.usage.completion_tokens == 1


def test_one_token_shows_in_every_api(served: Served) -> None:
    message = {"model": "tiny", "messages": HELLO, "max_tokens": 1}
    assert httpx.post(f"{served.url}/v1/messages", json=message).json()["content"][0]["text"]
    response = httpx.post(f"{served.url}/v1/responses", json={"input": "Hello", "max_output_tokens": 1}).json()
    assert response["output"][0]["content"][0]["text"]


def test_one_token_shows_where_a_thought_is_off(z1: Served) -> None:
    answer = chat(z1.url, {**SHORT, "max_tokens": 1, "enable_thinking": False}).json()
    assert answer["choices"][0]["message"]["content"]


@pytest.mark.parametrize("kind", ["format", "tool"])
def test_a_keyword_that_no_grammar_enforces_is_told(served: Served, kind: str) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "not": {"const": "Rome"}}},
        "required": ["city"],
    }
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": schema}}
    form = {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
    fields = form if kind == "format" else {"tools": [tool]}
    asked = {"messages": WEATHER, "temperature": 0, "max_tokens": 40, **fields}
    whole, stream = chat(served.url, asked), chat(served.url, {**asked, "stream": True})
    path = whole.json()["unenforced"]
    assert path.endswith("/properties/city/not")
    assert whole.headers[UNENFORCED_HEADER] == stream.headers[UNENFORCED_HEADER] == path
    assert [chunk["unenforced"] for chunk in streamed(stream) if "unenforced" in chunk] == [path]


def test_what_is_enforced_is_not_spoken_of(served: Served) -> None:
    response = chat(served.url, {**SHORT, "guided_choice": ["A", "B"]})
    assert UNENFORCED_HEADER not in response.headers
    assert "unenforced" not in response.json()


@pytest.mark.parametrize("strict", [True, False, None])
@pytest.mark.parametrize("kind", ["format", "tool"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_pattern_that_is_none_is_refused(served: Served, strict: bool | None, kind: str, stream: bool) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string", "pattern": "([a-z"}}, "required": ["city"]}
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": schema, "strict": strict}}
    form = {
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": strict}}
    }
    fields = form if kind == "format" else {"tools": [tool]}
    response = chat(served.url, {**SHORT, **fields, "stream": stream})
    assert response.status_code == 400
    where = "response_format.json_schema.schema" if kind == "format" else "tools[0].function.parameters"
    assert response.json()["error"]["param"] == f"{where}/properties/city/pattern"
