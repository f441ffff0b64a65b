"""A client of the Responses or the Messages API that goes away frees its sequence."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from server.questions import HELLO
from server.serving import Served, idle, until

LONG = {"type": "json_schema", "name": "long", "schema": {"type": "string", "pattern": "^[a-z]{3000}$"}}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/responses": {"input": "Hello", "text": {"format": LONG}},
    "/v1/messages": {"model": "m", "max_tokens": 3500, "messages": HELLO, "output_config": {"format": LONG}},
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("path", "body"), BODIES.items(), ids=BODIES.keys())
def test_a_client_that_goes_away_frees_its_sequence(
    served: Served, path: str, body: dict[str, Any], stream: bool
) -> None:
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
    assert served.glm.status.steps - left < 700  # the whole answer would take some 1,300
