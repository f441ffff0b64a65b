"""Clients that go away, dawdle or send nonsense: each gets its 4xx, and nobody else notices."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from server.questions import HELLO, TOOLS
from server.serving import Served, idle, serving, until

from glm_gguf import GLM, EngineOptions, SamplingParams
from glm_gguf.server.patience import PatientProtocol
from glm_gguf.server.settings import Limits, ServerSettings

ENDLESS = {"messages": HELLO, "ignore_eos": True}
SHORT = {"messages": HELLO, "temperature": 0, "max_tokens": 6}


def chat(url: str, body: Any = SHORT, **options: Any) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(f"{url}/v1/chat/completions", content=content, timeout=30, **options)


@contextlib.contextmanager
def connection(served: Served, head: bytes) -> Iterator[socket.socket]:
    """A connection on which something was sent."""
    with socket.create_connection(served.address, timeout=30) as made:
        made.sendall(head)
        yield made


def posted(body: bytes, length: int | None = None, path: bytes = b"/v1/chat/completions") -> bytes:
    """A request as bytes on the wire."""
    return b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (path, length or len(body), body)


@pytest.fixture(scope="module")
def quick(open_tiny: Callable[[], GLM]) -> Iterator[Served]:
    """A server that is soon out of patience."""
    limits = Limits(
        body_bytes=100_000, body_seconds=0.3, messages=10, tools=3, depth=40, stall_seconds=0.5, seconds=1.0
    )
    with serving(ServerSettings("tiny", limits=limits, keep_alive=0.05), open_tiny) as running:
        yield running


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("n", [1, 3])
def test_a_client_that_goes_away_frees_its_sequences(served: Served, stream: bool, n: int) -> None:
    until(lambda: idle(served))
    body = json.dumps({**ENDLESS, "stream": stream, "n": n}).encode()
    with connection(served, posted(body)) as client:
        until(lambda: served.glm.status.running == n)
        if stream:
            assert client.recv(100)
    left = served.glm.status.steps
    until(lambda: idle(served))
    assert served.glm.status.steps - left < 2000  # an endless answer would go on to the end of the context


def test_a_stream_goes_on_when_another_client_goes_away(served: Served) -> None:
    alone = chat(served.url, {**SHORT, "max_tokens": 400, "ignore_eos": True}).json()["choices"][0]["message"][
        "content"
    ]
    with httpx.stream(
        "POST",
        f"{served.url}/v1/chat/completions",
        json={**SHORT, "max_tokens": 400, "ignore_eos": True, "stream": True},
    ) as mine:
        lines = mine.iter_lines()
        first = next(lines)
        with connection(served, posted(json.dumps({**ENDLESS, "stream": True}).encode())) as other:
            other.recv(100)
        rest = [json.loads(line[6:]) for line in [first, *lines] if line.startswith("data: {")]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in rest) == alone


def test_what_a_request_leaves_open_is_the_servers(open_tiny: Callable[[], GLM]) -> None:
    sampling = SamplingParams(temperature=0, max_tokens=3)
    with serving(ServerSettings("glm", sampling=sampling), open_tiny) as running:
        for body, tokens in (({"messages": HELLO}, 3), ({"messages": HELLO, "max_tokens": 2}, 2)):
            answer = chat(running.url, body).json()
            assert (answer["model"], answer["usage"]["completion_tokens"]) == ("glm", tokens)


def test_one_request_does_not_wait_for_another(served: Served) -> None:
    body = {**ENDLESS, "stream": True}
    with httpx.stream("POST", f"{served.url}/v1/chat/completions", json=body, timeout=30) as endless:
        lines = endless.iter_lines()
        next(lines)
        assert chat(served.url).status_code == 200
        assert served.glm.status.running == 1


def test_an_embedding_that_nobody_waits_for_is_left(served: Served) -> None:
    body = json.dumps({"input": ["word " * 600] * 200}).encode()
    with connection(served, posted(body, path=b"/v1/embeddings")):
        until(lambda: served.glm.status.embeddings == 1)
    until(lambda: idle(served))


def test_a_full_queue_is_429_and_says_when_to_come_again(open_tiny: Callable[[], GLM], tiny_gguf: Any) -> None:
    options = EngineOptions(threads=1, n_ctx=4096, n_parallel=1, n_queue=1)
    with serving(ServerSettings("tiny"), lambda: GLM(tiny_gguf("Q8_0"), options=options)) as small:
        body = posted(json.dumps(ENDLESS).encode())
        with connection(small, body), connection(small, body):
            until(lambda: small.glm.status.running + small.glm.status.waiting == 2)
            for asked in (SHORT, {**SHORT, "stream": True}, {**SHORT, "n": 3}):
                refused = chat(small.url, asked)
                assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
                assert int(refused.headers["retry-after"]) >= 1
        until(lambda: idle(small))
        refused = chat(small.url, {**SHORT, "n": 3})  # one runs, one waits, the third is too many
        assert refused.status_code == 429
        until(lambda: idle(small))
        assert chat(small.url).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long_is_refused_before_a_stream_begins(served: Served, stream: bool) -> None:
    long = [{"role": "user", "content": "word " * 5000}]
    refused = chat(served.url, {"messages": long, "stream": stream})
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (400, "context_length_exceeded", "messages")


def test_silence_is_filled_with_comments(quick: Served) -> None:
    held = threading.Event()
    quick_glm = quick.glm
    blocker = threading.Thread(target=lambda: quick_glm._engine.call(lambda *_: held.wait(0.4)))
    blocker.start()
    with httpx.stream("POST", f"{quick.url}/v1/chat/completions", json={**SHORT, "stream": True}) as response:
        lines = list(response.iter_lines())
    blocker.join()
    assert ": keep-alive" in lines
    assert lines[-2] == "data: [DONE]"


def test_an_answer_that_takes_too_long_ends_as_it_is(quick: Served, served: Served) -> None:
    answer = chat(quick.url, {**ENDLESS, "logit_bias": {}}).json()
    assert answer["choices"][0]["finish_reason"] == "length"
    short = chat(served.url, {**ENDLESS, "timeout": 0.05}).json()
    assert short["choices"][0]["finish_reason"] == "length"
    assert short["usage"]["completion_tokens"] < 4000


def test_a_slow_reader_is_left_alone_until_it_counts_as_gone(served: Served, quick: Served) -> None:
    body = posted(json.dumps({**ENDLESS, "n": 8, "stream": True, "logprobs": True, "top_logprobs": 20}).encode())
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(quick.address)
        slow.sendall(body)
        until(lambda: quick.service.inside == 1)
        assert chat(quick.url).status_code == 200
        until(lambda: quick.service.inside == 0)
        assert idle(quick)


def test_a_body_that_does_not_come_is_408(quick: Served) -> None:
    with connection(quick, posted(b'{"messages":', 500)) as slow:
        assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")
    with connection(quick, b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Le"):
        assert chat(quick.url).status_code == 200


@pytest.mark.parametrize(
    "head", [b"", b"GET /health HT", b"GET /health HTTP/1.1\r\nHost: x\r\n"], ids=["none", "line", "headers"]
)
def test_who_does_not_say_what_is_wanted_is_hung_up_on(
    served: Served, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(PatientProtocol, "head_seconds", 0.2)
    with connection(served, head) as silent:
        assert silent.recv(100) == b""
    with connection(served, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n") as again:
        answer = b""
        while b"ready" not in answer:
            answer += again.recv(1000)
        again.sendall(head or b"G")
        assert again.recv(1000) == b""


def test_many_half_requests_disturb_nobody(served: Served) -> None:
    with contextlib.ExitStack() as stack:
        for index in range(100):
            head = posted(b'{"messages": [', 5000) if index % 2 else b"GET /v1/models HT"
            stack.enter_context(connection(served, head))
        assert chat(served.url).status_code == 200


def test_a_hundred_megabytes_are_413(served: Served) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"messages": "'
        for _ in range(100):
            yield b"x" * 2**20

    for content in (pieces(), b"x" * 100 * 2**20):
        refused = httpx.post(f"{served.url}/v1/chat/completions", content=content, timeout=30)
        assert (refused.status_code, refused.json()["error"]["code"]) == (413, "request_too_large")
    assert chat(served.url).status_code == 200


DEEP = {"x": 1}
for _ in range(60):
    DEEP = {"x": DEEP}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        pytest.param(b"", None, id="nothing"),
        pytest.param(b"[" * 90_000, "levels", id="deep and open"),
        pytest.param(b"[" * 40_000 + b"]" * 40_000, "levels", id="deep"),
        pytest.param({**SHORT, "metadata": DEEP}, "levels", id="deep where nobody looks"),
        pytest.param(b'{"messages": "\xff\xfe"}', "UTF-8", id="invalid UTF-8"),
        pytest.param(b'{"messages": NaN}', "NaN", id="NaN"),
        pytest.param(b'{"messages"', "JSON", id="half"),
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


@pytest.mark.parametrize(
    "form",
    [
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": {}},
        {"type": "json_schema", "json_schema": {"schema": "x"}},
        {"type": "regex", "pattern": "(((("},
        {"type": "lark", "grammar": "start: %%%"},
        {"type": "lark", "grammar": "start: start start"},
        {"type": "yaml"},
        {"schema": {}},
        {},
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_bad_format_is_400_and_the_server_lives(served: Served, form: dict[str, Any], stream: bool) -> None:
    refused = chat(served.url, {**SHORT, "response_format": form, "stream": stream})
    assert refused.status_code == 400 or '"invalid_request_error"' in refused.text.splitlines()[0]
    assert chat(served.url).status_code == 200


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$ref": "#/nowhere"},
        {"$ref": "file:///etc/passwd"},
        {"type": "integer", "minimum": 2, "maximum": 1},
        {"type": "string", "pattern": "(((("},
    ],
    ids=str,
)
def test_a_schema_that_nothing_meets_is_no_error_of_the_server(served: Served, schema: dict[str, Any]) -> None:
    form = {"type": "json_schema", "json_schema": {"schema": schema}}
    for most in (2, 40):
        assert chat(served.url, {**SHORT, "max_tokens": most, "response_format": form}).status_code in (200, 400)


def test_ten_thousand_tools_are_400(served: Served) -> None:
    tools = [{"type": "function", "function": {"name": f"f{index}", "parameters": {}}} for index in range(10_000)]
    refused = chat(served.url, {**SHORT, "tools": tools})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "tools")


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


def test_a_hostile_schema_holds_up_nobody(served: Served) -> None:
    """Schemas that take long to compile, eight at once, and a plain question between them."""
    items = {"anyOf": [{"type": "string", "pattern": f"^(a|b|{n}){{1,200}}$"} for n in range(200)]}
    start = time.perf_counter()
    alone = chat(served.url).elapsed.total_seconds()

    def hostile(number: int) -> int:
        schema = {"type": "object", "properties": {f"p{number}": {"type": "array", "items": items}}}
        form = {"type": "json_schema", "json_schema": {"schema": schema}}
        return chat(served.url, {**SHORT, "response_format": form}).status_code

    with ThreadPoolExecutor(8) as pool:
        costly = [pool.submit(hostile, number) for number in range(8)]
        plain = []
        while not all(one.done() for one in costly):
            plain.append(chat(served.url).elapsed.total_seconds())
    whole = time.perf_counter() - start
    assert {one.result() for one in costly} <= {200, 400}
    assert max(plain) < max(0.5 * whole, 20 * alone)


def test_no_content_is_logged(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        chat(served.url, {"messages": [{"role": "user", "content": "my-secret-words"}], "max_tokens": 1})
        chat(served.url, {"messages": [{"role": "my-secret-words"}]})
    ours = [
        record.getMessage() for record in caplog.records if record.name.startswith(("glm_gguf", "uvicorn", "asyncio"))
    ]
    assert not [line for line in ours if "my-secret-words" in line]


def test_metrics_count_what_was_done(open_tiny: Callable[[], GLM]) -> None:
    with serving(ServerSettings("tiny"), open_tiny) as fresh:
        assert chat(fresh.url, {**SHORT, "n": 2}).status_code == 200
        chat(fresh.url, b"x")
        httpx.get(f"{fresh.url}/v1/models/../../etc/passwd")
        lines = httpx.get(f"{fresh.url}/metrics").text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert values['glm_gguf_requests_total{path="/v1/chat/completions",status="200"}'] == "1.0"
    assert values['glm_gguf_requests_total{path="/v1/chat/completions",status="400"}'] == "1.0"
    assert values["glm_gguf_answer_seconds_count"] == "2.0"
    assert float(values['glm_gguf_tokens_total{kind="answer"}']) > 2
    assert values["glm_gguf_n_cells"] == "4096.0"
    assert float(values["glm_gguf_cells_used"]) > 0
