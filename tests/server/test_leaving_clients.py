"""A client that disconnects frees its sequences and disturbs no other client."""

from __future__ import annotations

import json
import socket
from typing import Any

import httpx
import pytest
from server.questions import ENDLESS, HELLO, SHORT
from server.serving import Served, chat, connection, idle, posted
from waiting import until

LONG: dict[str, Any] = {"type": "json_schema", "name": "long", "schema": {"type": "string", "pattern": "^[a-z]{3000}$"}}
HOT: dict[str, Any] = {"temperature": 2, "top_p": 1}  # few drafts are accepted
BODIES: dict[str, dict[str, Any]] = {
    "/v1/responses": {"input": "Hello", "text": {"format": LONG}, **HOT},
    "/v1/messages": {"model": "m", "max_tokens": 3500, "messages": HELLO, "output_config": {"format": LONG}, **HOT},
    "/api/chat": {"messages": HELLO, "format": LONG["schema"], "options": HOT},
    "/api/generate": {"prompt": "Hello", "format": LONG["schema"], "options": HOT},
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("path", "body"), BODIES.items(), ids=BODIES.keys())
def test_so_does_a_client_of_the_newer_apis(served: Served, path: str, body: dict[str, Any], stream: bool) -> None:
    until(lambda: idle(served))
    text = json.dumps({**body, "stream": stream}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text)}\r\n\r\n".encode()
    with socket.create_connection(served.address, timeout=20) as client:
        client.sendall(head + text)
        until(lambda: served.glm.status.running == 1)
        if stream:
            assert client.recv(100)
    left = served.glm.status.steps
    until(lambda: idle(served))
    assert served.glm.status.steps - left < 600  # the whole answer takes 700 to 1,000


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


def test_an_embedding_that_nobody_waits_for_is_left(served: Served) -> None:
    body = json.dumps({"input": ["word " * 600] * 200}).encode()
    with connection(served, posted(body, path=b"/v1/embeddings")):
        until(lambda: served.glm.status.embeddings == 1)
    until(lambda: idle(served))
