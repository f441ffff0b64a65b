"""Requests of coding agents: Codex at /v1/responses, Claude Code at /v1/messages."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest
from server.questions import TOOLS
from server.serving import Served

GREEDY: dict[str, Any] = {"model": "tiny", "temperature": 0, "max_output_tokens": 120}
ADD = {"type": "function", "strict": False, **TOOLS["add"]["function"]}
AQI = {"type": "function", "strict": False, **TOOLS["realtime_aqi"]["function"]}
PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /[a-z]+/"},
}
DIGIT = {"type": "custom", "name": "digit", "format": {"type": "grammar", "syntax": "regex", "definition": "[0-9]"}}
CODEX: dict[str, Any] = {
    "instructions": "You answer briefly.",
    "tools": [
        ADD,
        {"type": "web_search", "external_web_access": False},
        PATCH,
        {"type": "namespace", "name": "air", "description": "Air.", "tools": [AQI]},
        {"type": "tool_search", "execution": "client", "description": "", "parameters": {"type": "object"}},
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "session",
    "extra_body": {"client_metadata": {"x-codex-installation-id": "1"}},
}


def streamed(client: openai.OpenAI, **fields: Any) -> Any:
    """Return the response at the end of a stream."""
    with client.responses.create(stream=True, **GREEDY, **{**CODEX, **fields}) as stream:
        *_, last = stream
    assert last.type == "response.completed", last
    return last.response


def test_codex_gets_calls_by_its_own_names_and_its_history_is_read(client: openai.OpenAI) -> None:
    items: list[Any] = [{"role": "user", "content": [{"type": "input_text", "text": "北京的空气质量怎么样？"}]}]
    choice = {"type": "function", "name": AQI["name"]}
    response = streamed(client, input=items, tool_choice=choice, parallel_tool_calls=False)
    (call,) = [item for item in response.output if item.type == "function_call"]
    assert (call.namespace, call.name, json.loads(call.arguments)) == ("air", AQI["name"], {"city": "北京"})
    assert {tool.type for tool in response.tools} == {"function", "custom", "namespace"}
    items += [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "AAAA"},
        *(item.to_dict() for item in response.output),
        {"type": "function_call_output", "call_id": call.call_id, "output": "42"},
        {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "done"},
        {"type": "web_search_call", "id": "w", "status": "completed", "action": {"type": "search", "query": "q"}},
    ]
    again = streamed(client, input=items)
    assert again.usage.input_tokens > response.usage.input_tokens
    assert again.usage.input_tokens_details.cached_tokens > 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_custom_tool_gets_its_text_in_its_form(client: openai.OpenAI, stream: bool) -> None:
    choice = {"type": "custom", "name": "digit"}
    body: dict[str, Any] = {
        "input": "Hello",
        "tools": [ADD, DIGIT],
        "tool_choice": choice,
        "parallel_tool_calls": False,
    }
    whole = client.responses.create
    response = streamed(client, **body) if stream else whole(**GREEDY, **body)
    (call,) = response.output
    assert (call.type, call.name) == ("custom_tool_call", "digit")
    assert call.input in "0123456789"


def test_codexs_probe_is_told_what_it_lacks(client: openai.OpenAI) -> None:
    probe: dict[str, Any] = {**CODEX, "input": [], "instructions": "", "max_output_tokens": 1}
    with pytest.raises(openai.BadRequestError, match="there is no message") as caught:
        client.responses.create(model="tiny", **probe)
    assert caught.value.param == "input"


def test_what_is_left_out_is_named_in_a_header(client: openai.OpenAI, served: Served) -> None:
    raw = client.responses.with_raw_response.create(input="Hello", **GREEDY, **{**CODEX, "tool_choice": "none"})
    assert raw.headers["x-ignored-fields"] == "tools%3Aweb_search, tools%3Atool_search"
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    body = {"model": "tiny", "max_tokens": 5, "tools": tools, "messages": [{"role": "user", "content": "Hello"}]}
    answer = httpx.post(f"{served.url}/v1/messages", json=body, timeout=30)
    assert answer.headers["x-ignored-fields"] == "tools%3Aweb_search_20250305"


def test_claude_codes_changing_line_costs_no_prompt(served: Served) -> None:
    messages: list[Any] = []
    cached = []
    for turn in range(3):
        line = f"x-anthropic-billing-header: cc_version=2.1.1.0a{turn}; cc_entrypoint=cli; cch={turn}1fea;"
        system = [{"type": "text", "text": text} for text in (line, "You never hurry. " * 20)]
        messages.append({"role": "user", "content": f"Say {turn}."})
        body = {"model": "tiny", "max_tokens": 5, "temperature": 0, "system": system, "messages": messages}
        answer = httpx.post(f"{served.url}/v1/messages?beta=true", json=body, timeout=30).json()
        usage = answer["usage"]
        cached.append((usage["cache_read_input_tokens"], usage["input_tokens"]))
        messages.append({"role": "assistant", "content": answer["content"]})
    for read, new in cached[1:]:
        assert read > 4 * new
