"""Histories of other services and their agents: the conversation continues, whatever they hold."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from server.serving import Served

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
ASK = {"role": "user", "content": "What is the weather in Paris?"}
OLD_IMAGE = [{"role": "user", "content": [IMAGE]}, {"role": "assistant", "content": "A cat."}, ASK]


def use(**given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": "t", "name": "weather", "input": {}} | given


def messages(call: dict[str, Any], result: Any = "sunny", call_id: str | None = "t") -> list[dict[str, Any]]:
    results = [{"type": "tool_result", "tool_use_id": call_id, "content": result}]
    return [ASK, {"role": "assistant", "content": [call]}, {"role": "user", "content": results}]


def items(result: Any = "sunny", **given: Any) -> list[dict[str, Any]]:
    call = {"type": "function_call", "call_id": "t", "name": "weather", "arguments": "{}"} | given
    return [ASK, call, {"type": "function_call_output", "call_id": call["call_id"], "output": result}]


MESSAGES: dict[str, list[dict[str, Any]]] = {
    "an input as text": messages(use(input='{"city": "Rome"}')),
    "an input that is a list": messages(use(input=[1])),
    "a call without input": messages({"type": "tool_use", "id": "t", "name": "weather"}),
    "a call without id": messages(use(id=None), call_id=None),
    "a result that is an object": messages(use(), {"sky": "blue"}),
    "a result that is a number": messages(use(), 5),
    "a result of texts": messages(use(), ["a", "b"]),
    "a text that is null": [ASK, {"role": "assistant", "content": [{"type": "text", "text": None}]}, ASK],
    "an image that was answered": OLD_IMAGE,
}
ITEMS: dict[str, list[dict[str, Any]]] = {
    "arguments that are an object": items(arguments={"city": "Rome"}),
    "arguments that are null": items(arguments=None),
    "a call without id": items(call_id=None),
    "a result that is an object": items({"sky": "blue"}),
    "a result that is a number": items(5),
    "an answer without content": [ASK, {"role": "assistant", "content": None}, ASK],
    "an image that was answered": OLD_IMAGE,
}
WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "a call without a name": ("/v1/messages", {"messages": messages(use(name=""))}, "messages[1].content[0].name"),
    "a block that is null": ("/v1/messages", {"messages": [{"role": "user", "content": [None]}]}, "messages[0].conte"),
    "an image now": ("/v1/messages", {"messages": [{"role": "user", "content": [IMAGE]}]}, "messages[0].content[0].ty"),
    "an item without a name": ("/v1/responses", {"input": items(name="")}, "input[1].name"),
    "an item that is null": ("/v1/responses", {"input": [ASK, None]}, "input[1]"),
    "a schema by OpenAI's name": (
        "/v1/messages",
        {"messages": [ASK], "tools": [{"name": "f", "parameters": SCHEMA}]},
        "tools[0]",
    ),
    "a schema by Anthropic's name": (
        "/v1/responses",
        {"input": [ASK], "tools": [{"type": "function", "name": "f", "input_schema": SCHEMA}]},
        "tools[0].input_schema",
    ),
    "a schema by MCP's name": (
        "/v1/chat/completions",
        {"messages": [ASK], "tools": [{"type": "function", "function": {"name": "f", "inputSchema": SCHEMA}}]},
        "tools[0].function.inputSchema",
    ),
    "a misspelled schema": (
        "/v1/chat/completions",
        {"messages": [ASK], "tools": [{"type": "function", "function": {"name": "f", "paramaters": SCHEMA}}]},
        "tools[0].function.paramaters",
    ),
    "a misspelled schema of a response": (
        "/v1/responses",
        {"input": [ASK], "tools": [{"type": "function", "name": "f", "paramters": SCHEMA}]},
        "tools[0].paramters",
    ),
    "a misspelled schema of Anthropic's": (
        "/v1/messages",
        {"messages": [ASK], "tools": [{"name": "f", "input_shema": SCHEMA}]},
        "tools[0].input_shema",
    ),
    "a misspelled description": (
        "/v1/chat/completions",
        {"messages": [ASK], "tools": [{"type": "function", "function": {"name": "f", "desciption": "d"}}]},
        "tools[0].function.desciption",
    ),
    "a name of two lines": (
        "/v1/chat/completions",
        {"messages": [ASK], "tools": [{"type": "function", "function": {"name": "a\nb"}}]},
        "tools[0].function.name",
    ),
}


def posted(served: Served, path: str, body: dict[str, Any]) -> httpx.Response:
    limit = "max_output_tokens" if path == "/v1/responses" else "max_tokens"
    return httpx.post(f"{served.url}{path}", json={"model": "tiny", limit: 2, "temperature": 0, **body})


@pytest.mark.parametrize("history", MESSAGES.values(), ids=MESSAGES)
def test_messages_go_on(served: Served, history: list[dict[str, Any]]) -> None:
    response = posted(served, "/v1/messages", {"messages": history})
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("history", ITEMS.values(), ids=ITEMS)
def test_responses_go_on(served: Served, history: list[dict[str, Any]]) -> None:
    response = posted(served, "/v1/responses", {"input": history})
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(("path", "body", "place"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_by_its_place(served: Served, path: str, body: dict[str, Any], place: str) -> None:
    response = posted(served, path, body)
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith(place)
