"""Content of bodies: nonsense gets a 4xx, fields without meaning are ignored."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from server.questions import HELLO, SHORT, TOOLS
from server.serving import Served, chat, serving

from glm_gguf import GLM, SamplingParams
from glm_gguf.server.app import create_app
from glm_gguf.server.bodies.ignored_fields import IGNORED_HEADER
from glm_gguf.server.bodies.json_body import JsonRequest
from glm_gguf.server.bodies.memory import BODY, BodyRefused
from glm_gguf.server.limits import Limits
from glm_gguf.server.settings import ServerSettings

DEEP = {"x": 1}
for _ in range(60):
    DEEP = {"x": DEEP}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        pytest.param(b"", None, id="nothing"),
        pytest.param(b"[" * 15_000, "levels", id="deep and open"),
        pytest.param(b"[" * 15_000 + b"]" * 15_000, "levels", id="deep"),
        pytest.param({**SHORT, "metadata": DEEP}, "levels", id="deep where nobody looks"),
        pytest.param(b"[" + b"[]," * 10_000 + b"{}," * 11_000 + b"[]]", "lists and objects", id="wide"),
        pytest.param(b'["' + b'\\"' * 10_000 + b"[" * 60_000, "JSON", id="a text that does not end"),
        pytest.param(b'{"messages": "\xff\xfe"}', "UTF-8", id="invalid UTF-8"),
        pytest.param(b'{"messages": NaN}', "NaN", id="NaN"),
        pytest.param(b'{"messages"', "JSON", id="half"),
        pytest.param(b'{"messages": [{"role": "user", "role": "user"}]}', "'role' occurs twice", id="a name twice"),
        pytest.param([], None, id="a list"),
        pytest.param("text", None, id="a text"),
        pytest.param(b"1" * 5000, None, id="a number with too many digits"),
        pytest.param({"messages": [HELLO[0]] * 11}, "too many", id="messages"),
        pytest.param({**SHORT, "tools": [TOOLS["add"]] * 4}, "too many", id="tools"),
        pytest.param({**SHORT, "n": 1000}, "too many", id="choices"),
        pytest.param({"messages": [{"role": "user", "content": "\ud800"}]}, "surrogate", id="half a surrogate pair"),
        pytest.param({"messages": ["hi"]}, "messages[0]", id="a message that is a text"),
        pytest.param({"messages": [{"role": "user", "content": {"a": 1}}]}, "messages[0].content", id="content"),
        pytest.param({**SHORT, "tools": [{"type": "function"}]}, "tools[0]", id="a tool without a function"),
        pytest.param(
            {**SHORT, "tools": [{"type": "function", "function": {"name": "f", "parameters": 3}}]},
            "tools[0]",
            id="parameters",
        ),
        pytest.param({**SHORT, "tool_choice": "required"}, "tool_choice", id="a call without tools"),
        pytest.param({**SHORT, "tool_choice": 3}, "tool_choice", id="choice"),
        pytest.param({**SHORT, "top_logprobs": 2}, "top_logprobs", id="top_logprobs"),
        pytest.param({**SHORT, "logprobs": 3}, "logprobs", id="logprobs as a number"),
        pytest.param({**SHORT, "n": True}, "n", id="true is no number"),
        pytest.param({**SHORT, "max_tokens": 0}, "max_tokens", id="max_tokens"),
        pytest.param({**SHORT, "max_tokens": 10**30}, "max_tokens", id="a number beyond all"),
        pytest.param({**SHORT, "temperature": -1}, "temperature", id="temperature"),
        pytest.param({**SHORT, "temperature": 1e400}, None, id="infinity"),
        pytest.param({**SHORT, "logit_bias": {"x": 1}}, "logit_bias", id="a bias for no token"),
        pytest.param({**SHORT, "logit_bias": {"5": 1000}}, "logit_bias", id="a bias"),
        pytest.param({**SHORT, "stop": [["a"]]}, "stop", id="stop"),
        pytest.param({**SHORT, "stop": ["a"] * 129}, "stop", id="many stop texts"),
        pytest.param({**SHORT, "stop": "a" * 2000}, "stop", id="a long stop text"),
        pytest.param({**SHORT, "stream_options": []}, "stream_options", id="stream options"),
        pytest.param({**SHORT, "lora": {"none": 1.0}}, "lora", id="an adapter that is not there"),
        pytest.param({**SHORT, "chat_template_kwargs": [1]}, "chat_template_kwargs", id="variables"),
    ],
)
def test_nonsense_is_400_and_says_what(quick: Served, body: Any, what: str | None) -> None:
    refused = chat(quick.url, body)
    error = refused.json()["error"]
    assert (refused.status_code, error["type"]) == (400, "invalid_request_error")
    assert what is None or what in error["message"] or (error["param"] or "").startswith(what)


def test_brackets_in_a_text_are_no_lists(served: Served) -> None:
    text = 'x[{\\"' * 60_000
    refused = chat(served.url, {"messages": [{"role": "user", "content": text}]})
    assert refused.json()["error"]["code"] == "context_length_exceeded"


def test_ten_thousand_tools_are_400(served: Served) -> None:
    tools = [{"type": "function", "function": {"name": f"f{index}", "parameters": {}}} for index in range(10_000)]
    refused = chat(served.url, {**SHORT, "tools": tools})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "tools")


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long_is_refused_before_a_stream_begins(served: Served, stream: bool) -> None:
    long = [{"role": "user", "content": "word " * 5000}]
    refused = chat(served.url, {"messages": long, "stream": stream})
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (400, "context_length_exceeded", "messages")


def test_unknown_fields_and_nulls_are_passed_over(served: Served) -> None:
    names = (
        "tools",
        "stop",
        "n",
        "stream",
        "seed",
        "logprobs",
        "response_format",
        "temperature",
        "stream_options",
        "user",
    )
    body = {**dict.fromkeys(names), "messages": HELLO, "max_tokens": 2, "store": True, "whatever": {"a": []}}
    assert chat(served.url, body).status_code == 200


def test_a_byte_order_mark_is_no_part_of_a_body(served: Served) -> None:
    response = httpx.post(f"{served.url}/v1/chat/completions", content=b"\xef\xbb\xbf" + json.dumps(SHORT).encode())
    assert response.status_code == 200, response.text


def test_a_compressed_body_is_refused_as_such(served: Served) -> None:
    packed, headers = gzip.compress(json.dumps(SHORT).encode()), {"Content-Encoding": "gzip"}
    refused = httpx.post(f"{served.url}/v1/chat/completions", content=packed, headers=headers)
    assert (refused.status_code, "Content-Encoding" in refused.json()["error"]["message"]) == (415, True)


def test_what_a_request_leaves_open_is_the_servers(open_tiny: Callable[[], GLM]) -> None:
    sampling = SamplingParams(temperature=0, max_tokens=3)
    with serving(ServerSettings("glm", sampling=sampling), open_tiny) as running:
        for body, tokens in (({"messages": HELLO}, 3), ({"messages": HELLO, "max_tokens": 2}, 2)):
            answer = chat(running.url, body).json()
            assert (answer["model"], answer["usage"]["completion_tokens"]) == ("glm", tokens)


SERVICE_TOOLS: list[dict[str, Any]] = [
    {"type": "web_search", "web_search": {"enable": True}},
    {"type": "mcp", "server_label": "x", "server_url": "https://example.org"},
    {"type": "code_interpreter"},
]


def test_tools_that_a_service_runs_are_left_out_and_named(served: Served) -> None:
    tools = [*SERVICE_TOOLS, TOOLS["add"]]
    response = chat(served.url, {**SHORT, "tools": tools, "tool_choice": "required", "max_tokens": 40})
    assert response.status_code == 200, response.text
    assert response.json()["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "add"
    assert response.headers[IGNORED_HEADER] == "tools%3Aweb_search, tools%3Amcp, tools%3Acode_interpreter"


@pytest.mark.parametrize("path", ["/apply-template", "/tokenize", "/api/chat"])
def test_they_are_left_out_of_every_prompt(served: Served, path: str) -> None:
    body = {"model": "tiny", "messages": HELLO, "stream": False, "options": {"num_predict": 2}}
    body = body if path == "/api/chat" else {"messages": HELLO}
    both, alone = (
        httpx.post(f"{served.url}{path}", json={**body, "tools": tools})
        for tools in ([*SERVICE_TOOLS, TOOLS["add"]], [TOOLS["add"]])
    )
    assert both.status_code == 200, both.text
    assert ("web_search" in both.headers.get(IGNORED_HEADER, "")) == (path == "/api/chat")
    kept = ("prompt", "tokens", "prompt_eval_count")
    assert [both.json().get(key) for key in kept] == [alone.json().get(key) for key in kept]


def test_without_a_function_nothing_can_be_required(served: Served) -> None:
    assert chat(served.url, {**SHORT, "tools": SERVICE_TOOLS}).status_code == 200
    refused = chat(served.url, {**SHORT, "tools": SERVICE_TOOLS, "tool_choice": "required"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "tool_choice")


def test_a_custom_tool_is_refused_as_one(served: Served) -> None:
    refused = chat(served.url, {**SHORT, "tools": [TOOLS["add"], {"type": "custom", "custom": {"name": "patch"}}]})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "tools[1].type")
    assert "/v1/responses" in refused.json()["error"]["message"]


class Pieces:
    """The body of a request: pieces that have all come."""

    def __init__(self, *sizes: int) -> None:
        self._sizes = list(sizes)

    async def __call__(self) -> dict[str, Any]:
        size = self._sizes.pop(0)
        return {"type": "http.request", "body": b" " * size, "more_body": bool(self._sizes)}


def test_a_refused_body_takes_no_memory_from_those_behind_it(open_tiny: Callable[[], GLM]) -> None:
    app = create_app(ServerSettings("tiny", limits=Limits(body_bytes=300_000, bodies_bytes=150_000)), open_tiny)

    def received(*sizes: int) -> bytes:
        scope = {"type": "http", "app": app, "headers": [], BODY: app.state.service.bodies.new_body()}
        return asyncio.run(JsonRequest(scope, Pieces(*sizes)).body())

    with pytest.raises(BodyRefused) as refused:  # its response is not sent yet
        received(200_000, 200_000)
    assert refused.value.problem.status == 413
    assert len(received(200_000, 10)) == 200_010
