"""Slow clients, in both directions, and requests that are too long: other clients do not notice."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from server.questions import ENDLESS, SHORT
from server.serving import Served, chat, connection, idle, posted, serving
from waiting import until

from glm_gguf import GLM
from glm_gguf.server.limits import Limits
from glm_gguf.server.settings import ServerSettings


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


@pytest.fixture
def stalling(open_tiny: Callable[[], GLM]) -> Iterator[Served]:
    """A server that waits half a second for who reads nothing, and as long as usual for answers."""
    with serving(ServerSettings("tiny", limits=Limits(stall_seconds=0.5)), open_tiny) as running:
        yield running


def test_a_slow_reader_is_left_alone_until_it_counts_as_gone(stalling: Served) -> None:
    body = posted(json.dumps({**ENDLESS, "n": 8, "stream": True, "logprobs": True, "top_logprobs": 20}).encode())
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(stalling.address)
        slow.sendall(body)
        until(lambda: stalling.service.active == 1)
        assert chat(stalling.url).status_code == 200
        until(lambda: stalling.service.active == 0)
        until(lambda: idle(stalling))


def test_a_body_that_does_not_come_is_408(quick: Served) -> None:
    with connection(quick, posted(b'{"messages":', 500)) as slow:
        assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")
    with connection(quick, b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Le"):
        assert chat(quick.url).status_code == 200


@pytest.mark.parametrize(
    "head", [b"", b"GET /health HT", b"GET /health HTTP/1.1\r\nHost: localhost\r\n"], ids=["none", "line", "headers"]
)
def test_who_does_not_say_what_is_wanted_is_hung_up_on(quick: Served, head: bytes) -> None:
    with connection(quick, head) as silent:
        assert silent.recv(100) == b""
    with connection(quick, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n") as again:
        answer = b""
        while b"ready" not in answer:
            answer += again.recv(1000)
        again.sendall(head or b"G")
        assert again.recv(1000) == b""


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health?" + b"a" * 2**20,
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 2**20,
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: b\r\n" * 2**17,
    ],
    ids=["address", "header", "headers"],
)
def test_a_head_that_is_too_long_is_400(served: Served, head: bytes) -> None:
    with connection(served, b"") as made, contextlib.suppress(OSError):  # it is hung up on while it still sends
        made.sendall(head)
        assert made.recv(100).startswith(b"HTTP/1.1 400 ")
    with connection(served, b"GET /health?" + b"a=1&" * 1025 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n") as made:
        assert made.recv(100).startswith(b"HTTP/1.1 414 ")
    with connection(served, b"GET /health?" + b"a=1&" * 1024 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n") as made:
        assert made.recv(100).startswith(b"HTTP/1.1 200 ")
    with connection(served, b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 20_000 + b"\r\n\r\n") as made:
        assert made.recv(100).startswith(b"HTTP/1.1 200 ")


def test_many_half_requests_disturb_nobody(served: Served) -> None:
    with contextlib.ExitStack() as stack:
        for index in range(100):
            head = posted(b'{"messages": [', 5000) if index % 2 else b"GET /v1/models HT"
            stack.enter_context(connection(served, head))
        assert chat(served.url).status_code == 200


def test_twice_what_a_body_may_hold_is_413(served: Served) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"messages": "'
        for _ in range(32):
            yield b"x" * 2**20

    for content in (pieces(), b"x" * 32 * 2**20):
        refused = httpx.post(f"{served.url}/v1/chat/completions", content=content, timeout=30)
        assert (refused.status_code, refused.json()["error"]["code"]) == (413, "request_too_large")
    assert chat(served.url).status_code == 200


def test_no_piece_of_a_response_waits_for_an_acknowledgement(served: Served) -> None:
    with httpx.Client() as client:
        client.get(f"{served.url}/health")
        times = []
        for _ in range(100):
            start = time.monotonic()
            client.get(f"{served.url}/health")
            times.append(time.monotonic() - start)
    assert sorted(times)[10] < 0.035  # Linux acknowledges after 40 ms what nothing follows
