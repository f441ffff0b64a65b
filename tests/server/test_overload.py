"""Too many connections, bytes, pipelined requests or descriptors: other requests are answered meanwhile."""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from server.questions import ENDLESS, HELLO, SHORT
from server.serving import Served, chat, connection, idle, posted, serving
from waiting import until

from glm_gguf import GLM
from glm_gguf.server.bodies.memory import FREE_BYTES
from glm_gguf.server.limits import Limits
from glm_gguf.server.settings import ServerSettings

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
BODY = json.dumps(SHORT).encode()
CHUNK = b"%x\r\n%s\r\n" % (len(BODY), BODY)
ROOM = 8


@pytest.fixture(scope="module")
def narrow(open_tiny: Callable[[], GLM]) -> Iterator[Served]:
    """A server with few connections and little memory for bodies."""
    limits = Limits(connections=ROOM, pipelined=64, bodies_bytes=200_000, head_seconds=1.0, stall_seconds=0.5)
    with serving(ServerSettings("tiny", limits=limits), open_tiny) as running:
        yield running


def is_closed(client: socket.socket) -> bool:
    """Return whether the server closed the connection."""
    poll = select.poll()
    poll.register(client, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))


def until_received(client: socket.socket, wanted: bytes) -> None:
    """Read up to these bytes; AssertionError if the connection ends first."""
    answer = b""
    while wanted not in answer:
        piece = client.recv(2**16)
        assert piece, answer
        answer += piece


def received(client: socket.socket) -> bytes:
    """Read up to the end of the connection."""
    pieces = []
    with contextlib.suppress(ConnectionResetError):
        while piece := client.recv(2**16):
            pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /health HT", CHUNKED, CHUNKED + b"5\r\n{", posted(b'{"messages": [', 5000), HEALTH],
    ids=["nothing", "half a line", "no body", "half a chunk", "half a body", "an answered request"],
)
def test_connections_that_owe_a_request_make_room(narrow: Served, sent: bytes) -> None:
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(connection(narrow, sent)) for _ in range(5 * ROOM)]
        assert chat(narrow.url).status_code == 200
        assert httpx.get(f"{narrow.url}/health").status_code == 200
        until(lambda: sum(map(is_closed, crowd)) >= 4 * ROOM)


def test_where_every_client_waits_for_an_answer_one_more_is_503(narrow: Served) -> None:
    with contextlib.ExitStack() as stack:
        body = posted(json.dumps({**ENDLESS, "stream": True}).encode())
        crowd = [stack.enter_context(connection(narrow, body)) for _ in range(ROOM)]
        for one in crowd:
            assert one.recv(12) == b"HTTP/1.1 200"
        with connection(narrow, b"") as surplus:
            refused = received(surplus)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in refused
        assert not any(map(is_closed, crowd))
        crowd[0].close()
        until(lambda: narrow.service.active < ROOM)
        assert httpx.get(f"{narrow.url}/health").status_code == 200
    until(lambda: idle(narrow))


@pytest.mark.parametrize(
    "flood",
    [
        CHUNK + b"0\r\n" + b"X: 1\r\n" * 2**19,
        CHUNK + b"0\r\nX: " + b"1" * 2**22,
        b"1;" + b"x" * 2**22 + b"\r\n{\r\n",
        b"1" + b"0" * 2**22,
    ],
    ids=["many trailers", "a long trailer", "an extension of a chunk", "a length of a chunk"],
)
def test_what_stands_around_a_body_is_limited(narrow: Served, flood: bytes) -> None:
    with connection(narrow, CHUNKED) as client:
        with contextlib.suppress(OSError):  # it is hung up on while it still sends
            client.sendall(flood)
        until(lambda: is_closed(client))
    assert chat(narrow.url).status_code == 200


def test_a_body_in_many_small_chunks_with_a_few_trailers_is_read(narrow: Served) -> None:
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY.ljust(40_000))
    with connection(narrow, CHUNKED + pieces + b"0\r\nX-Sum: 1\r\nHost: evil.example\r\n\r\n") as client:
        assert client.recv(12) == b"HTTP/1.1 200"


def test_requests_in_line_on_one_connection_are_answered_in_order(narrow: Served) -> None:
    heads = b"".join(b"GET /v1/models/m%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % index for index in range(5))
    with connection(narrow, heads) as client:
        answers = b""
        while len(re.findall(rb"There is no model", answers)) < 5:
            answers += client.recv(2**16)
        assert re.findall(rb"There is no model '(m\d)'", answers) == [b"m0", b"m1", b"m2", b"m3", b"m4"]


@pytest.mark.parametrize(
    "first", [HEALTH, posted(json.dumps({**ENDLESS, "stream": True}).encode())], ids=["get", "stream"]
)
def test_too_many_requests_in_line_on_one_connection_are_400(narrow: Served, first: bytes) -> None:
    with connection(narrow, b"") as client:
        with contextlib.suppress(OSError):
            client.sendall(first + HEALTH * 10_000)
        assert b"HTTP/1.1 400 " in received(client)
    until(lambda: narrow.service.active == 0)
    assert chat(narrow.url).status_code == 200


def test_a_stream_ends_when_its_client_leaves_though_another_request_is_behind_it(narrow: Served) -> None:
    body = posted(json.dumps({**ENDLESS, "stream": True}).encode())
    with connection(narrow, body + HEALTH) as client:
        assert client.recv(12) == b"HTTP/1.1 200"
        until(lambda: narrow.glm.status.running == 1)
    until(lambda: idle(narrow))
    until(lambda: narrow.service.active == 0)


def test_line_ends_keep_no_connection_open(narrow: Served) -> None:
    with connection(narrow, HEALTH) as client:
        until_received(client, b"ready")
        client.sendall(b"\r\n")
        until(lambda: is_closed(client))


def test_who_does_not_read_a_response_is_hung_up_on(narrow: Served) -> None:
    page = httpx.get(f"{narrow.url}/openapi.json").content
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(narrow.address)
        for _ in range(6_000_000 // len(page)):  # more than the kernel takes for it, and no more than may be in line
            with contextlib.suppress(OSError):
                client.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: is_closed(client))
    assert chat(narrow.url).status_code == 200


def large(size: int) -> bytes:
    """Return a request with a body of about this size."""
    return posted(json.dumps({**SHORT, "user": "x" * size}).encode())


def test_bodies_that_do_not_come_make_room_for_one_that_does(narrow: Served) -> None:
    held = FREE_BYTES + 60_000
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(connection(narrow, large(held)[:held])) for _ in range(5)]
        assert chat(narrow.url).status_code == 200
        with connection(narrow, large(held)) as client:
            assert client.recv(12) == b"HTTP/1.1 200"
        until(lambda: narrow.service.bodies._held <= 200_000)
        until(lambda: any(map(is_readable, crowd)))
        refused = [one.recv(2**12) for one in crowd if is_readable(one)]
        assert all(answer.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1" in answer for answer in refused)
    until(lambda: narrow.service.bodies._held == 0)


def is_readable(client: socket.socket) -> bool:
    return bool(select.select([client], [], [], 0)[0])


def test_a_body_for_which_there_is_no_room_is_503_and_small_ones_are_read(narrow: Served) -> None:
    with connection(narrow, large(300_000)) as client:
        until_received(client, b"overloaded")
    assert chat(narrow.url).status_code == 200
    until(lambda: narrow.service.bodies._held == 0)


def test_where_descriptors_are_few_connections_are_fewer_and_nothing_spins(tiny_gguf: Callable[[str], Path]) -> None:
    serve = f"ulimit -n 64; exec {sys.executable} -m glm_gguf serve {tiny_gguf('Q8_0')} --port 0 --threads 1"
    with subprocess.Popen(["bash", "-c", serve], stderr=subprocess.PIPE, text=True) as running:
        try:
            assert running.stderr is not None
            found = re.search(r"http://(127\.0\.0\.1):(\d+)/", running.stderr.readline())
            assert found is not None
            address = found[1], int(found[2])
            until(lambda: httpx.get(f"http://{found[1]}:{found[2]}/health").json() == {"status": "ready"})
            before = psutil.Process(running.pid).cpu_times()
            with contextlib.ExitStack() as stack:
                for _ in range(150):
                    stack.enter_context(socket.create_connection(address, 20))
                assert chat(f"http://{found[1]}:{found[2]}", {"messages": HELLO, "max_tokens": 2}).status_code == 200
            after = psutil.Process(running.pid).cpu_times()
            assert after.user + after.system - before.user - before.system < 3
            running.terminate()
            assert running.wait(20) == 0
            said = running.stderr.read().splitlines()
            assert "no key is set: only this machine may send requests" in said
            assert len(said) <= 3, said  # besides that, what is loaded and where it is computed
        finally:
            running.kill()
