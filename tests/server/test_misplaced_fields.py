"""Misspelled and misplaced fields: refused by their place."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from server.questions import HELLO, SHORT
from server.serving import Served, chat

from glm_gguf.server.bodies.ignored_fields import IGNORED_HEADER
from glm_gguf.server.bodies.misplaced_fields import misplaced_field

PATHS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": SHORT,
    "/v1/completions": {"prompt": "Hello", "temperature": 0, "max_tokens": 2},
    "/v1/responses": {"input": "Hello", "temperature": 0, "max_output_tokens": 4},
    "/v1/messages": {"model": "tiny", "messages": HELLO, "max_tokens": 4},
    "/v1/embeddings": {"input": "Hello"},
}
SCHEMA = {"type": "object"}
EVERYWHERE: dict[str, tuple[dict[str, Any], str]] = {
    "a constraint in extra_body": ({"extra_body": {"guided_json": SCHEMA}}, "extra_body.guided_json"),
    "an object nobody knows": ({"my_settings": {"responseFormat": SCHEMA}}, "my_settings.responseFormat"),
    "camelCase": ({"responseFormat": SCHEMA}, "responseFormat"),
    "hyphens": ({"guided-regex": "a+"}, "guided-regex"),
    "Gemini": ({"generationConfig": {"maxOutputTokens": 4}}, "generationConfig"),
    "Bedrock": ({"inferenceConfig": {"maxTokens": 4}}, "inferenceConfig"),
    "TGI": ({"parameters": {"max_new_tokens": 4}}, "parameters"),
    "transformers": ({"num_beams": 4}, "num_beams"),
    "a schema under another name": ({"response_schema": SCHEMA}, "response_schema"),
    "a schema in camelCase": ({"responseJsonSchema": SCHEMA}, "responseJsonSchema"),
    "a pattern": ({"output_regex": "a+"}, "output_regex"),
    "vLLM's by its first word": ({"guided_json_object": True}, "guided_json_object"),
    "a thought that false switches off": ({"thinking_enabled": False}, "thinking_enabled"),
    "a thought that true switches off": ({"disable_reasoning": True}, "disable_reasoning"),
    "no tokens of a thought": ({"max_reasoning_tokens": 0}, "max_reasoning_tokens"),
    "a mode of thoughts": ({"thinking_mode": "off"}, "thinking_mode"),
    "a thought in the text": ({"separate_reasoning": False}, "separate_reasoning"),
    "tokens that false asks for": ({"skip_special_tokens": False}, "skip_special_tokens"),
}
SOME: dict[str, tuple[str, dict[str, Any], str]] = {
    "chat, another spelling": ("/v1/chat/completions", {"maxTokens": 4}, "maxTokens"),
    "chat, false": ("/v1/chat/completions", {"parallelToolCalls": False}, "parallelToolCalls"),
    "chat, inside": ("/v1/chat/completions", {"reasoning": {"maxTokens": 4}}, "reasoning.maxTokens"),
    "chat, of the template": (
        "/v1/chat/completions",
        {"chat_template_kwargs": {"guided_json": SCHEMA}},
        "chat_template_kwargs.guided_json",
    ),
    "chat, of the template, spelled": (
        "/v1/chat/completions",
        {"chat_template_kwargs": {"enableThinking": False}},
        "chat_template_kwargs.enableThinking",
    ),
    "chat, of the template, by its words": (
        "/v1/chat/completions",
        {"chat_template_kwargs": {"enable_reasoning": False}},
        "chat_template_kwargs.enable_reasoning",
    ),
    "texts": ("/v1/completions", {"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
    "responses": ("/v1/responses", {"max_tokens": 4}, "max_tokens"),
    "responses, thoughts": ("/v1/responses", {"enable_thinking": False}, "enable_thinking"),
    "responses, inside": ("/v1/responses", {"text": {"response_format": SCHEMA}}, "text.response_format"),
    "messages": ("/v1/messages", {"stop": ["a"]}, "stop"),
    "messages, thoughts": ("/v1/messages", {"think": False}, "think"),
    "messages, inside": ("/v1/messages", {"output_config": {"schema": SCHEMA}}, "output_config.schema"),
    "embeddings": ("/v1/embeddings", {"encodingFormat": "base64"}, "encodingFormat"),
}
HARMLESS: dict[str, tuple[dict[str, Any], str | None]] = {
    "nothing in extra_body": ({"extra_body": {"guided_json": None, "logprobs": None}}, "extra_body"),
    "an object of its own": ({"my_trace": {"model": "x", "stream": True, "user": "y"}}, "my_trace"),
    "metadata": ({"metadata": {"temperature": "0.1", "seed": "5"}}, None),
    "a thought as it is": ({"enable_reasoning": True, "thinking_mode": "auto"}, "enable_reasoning, thinking_mode"),
    "a thought that is not switched": ({"clear_thinking": False, "reasoning_details": [1]}, "reasoning_details"),
    "no schema": ({"response_schema": None, "hide_thinking": False}, None),
    "a switch as it is": ({"skipSpecialTokens": True}, "skipSpecialTokens"),
}


def refused(response: httpx.Response, place: str) -> None:
    assert response.status_code == 400, response.text
    assert response.json()["error"]["message"].startswith(f"{place}: ")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("fields", "place"), EVERYWHERE.values(), ids=EVERYWHERE)
def test_such_a_wish_is_refused_in_every_api(served: Served, path: str, fields: dict[str, Any], place: str) -> None:
    refused(httpx.post(f"{served.url}{path}", json={**PATHS[path], **fields}), place)


@pytest.mark.parametrize(("path", "fields", "place"), SOME.values(), ids=SOME)
def test_it_is_named_as_the_client_named_it(served: Served, path: str, fields: dict[str, Any], place: str) -> None:
    refused(httpx.post(f"{served.url}{path}", json={**PATHS[path], **fields}), place)


@pytest.mark.parametrize(("fields", "named"), HARMLESS.values(), ids=HARMLESS)
def test_what_asks_for_nothing_passes(served: Served, fields: dict[str, Any], named: str | None) -> None:
    response = chat(served.url, {**SHORT, **fields})
    assert response.status_code == 200, response.text
    assert response.headers.get(IGNORED_HEADER) == named


def test_what_an_object_holds_and_nothing_reads_is_named(served: Served) -> None:
    response = chat(served.url, {**SHORT, "stream_options": {"made_up": 1}})
    assert response.headers[IGNORED_HEADER] == "stream_options.made_up"


def test_an_effort_that_nobody_knows_is_named(served: Served) -> None:
    asked = {**PATHS["/v1/responses"], "reasoning": {"effort": "lots"}}
    assert httpx.post(f"{served.url}/v1/responses", json=asked).headers[IGNORED_HEADER] == "reasoning.effort"
    asked = {**PATHS["/v1/messages"], "output_config": {"effort": "lots"}}
    assert httpx.post(f"{served.url}/v1/messages", json=asked).headers[IGNORED_HEADER] == "output_config.effort"


def test_very_many_fields_are_looked_up_quickly() -> None:
    declared = frozenset(PATHS["/v1/messages"])
    body = {"x": {f"made_up_{number}": 1 for number in range(100_000)}}
    started = time.process_time()
    assert misplaced_field(body, declared) is None
    assert time.process_time() - started < 5  # 0.1 s on a quiet machine, 10 s if every name were compared with all


MESSAGE_KEYS: dict[str, tuple[dict[str, Any], str, str]] = {
    "calls": ({"role": "assistant", "toolCalls": [{"function": {"name": "f"}}]}, "toolCalls", "tool_calls"),
    "a call's id": ({"role": "tool", "content": "1", "toolCallId": "a"}, "toolCallId", "tool_call_id"),
    "the old form": ({"role": "assistant", "functionCall": {"name": "f"}}, "functionCall", "function_call"),
    "capitals": ({"role": "user", "Content": "Hello"}, "Content", "content"),
}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/tokenize", "/apply-template"])
@pytest.mark.parametrize(("message", "key", "meant"), MESSAGE_KEYS.values(), ids=MESSAGE_KEYS)
def test_a_misspelled_key_of_a_message_is_refused(
    served: Served, message: dict[str, Any], key: str, meant: str, path: str
) -> None:
    refused = httpx.post(f"{served.url}{path}", json={"messages": [*HELLO, message]})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, f"messages[1].{key}")
    assert f"`{meant}`" in refused.json()["error"]["message"]


@pytest.mark.parametrize("nothing", [None, "", [], {}], ids=str)
def test_a_misspelled_key_without_a_value_passes(served: Served, nothing: Any) -> None:
    assert chat(served.url, {**SHORT, "messages": [{**HELLO[0], "toolCalls": nothing}]}).status_code == 200
