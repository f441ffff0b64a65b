"""A thread's job for a request ends in an answer or in an error, whatever it raises and whoever disconnects."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from server.questions import HELLO, SHORT, TOOLS
from server.serving import Served, chat, connection, idle, posted, serving
from waiting import PATIENCE, until

from glm_gguf import GLM
from glm_gguf.server.chat_completions.chunks import ChunkWriter
from glm_gguf.server.chat_completions.response import AnswerForm
from glm_gguf.server.jobs import UNRAISABLE, Jobs
from glm_gguf.server.limits import Limits
from glm_gguf.server.problem import Refused
from glm_gguf.server.settings import ServerSettings
from glm_gguf.server.streams.wire_stream import chunk_stream

ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": SHORT,
    "/v1/responses": {"input": "Hello"},
    "/v1/messages": {"model": "m", "messages": HELLO, "max_tokens": 6},
    "/v1/messages/count_tokens": {"model": "m", "messages": HELLO},
    "/v1/responses/input_tokens": {"input": "Hello"},
    "/v1/completions": {"prompt": "abab"},
    "/api/chat": {"messages": HELLO, "options": {"num_predict": 6}},
    "/api/generate": {"prompt": "Hello", "options": {"num_predict": 6}},
    "/apply-template": {"messages": HELLO},
    "/tokenize": {"messages": HELLO},
}


@pytest.mark.parametrize("kind", UNRAISABLE, ids=lambda kind: kind.__name__)
def test_whatever_a_job_raises_comes_out_as_an_error(kind: type[BaseException]) -> None:
    def job() -> None:
        raise kind

    async def asked() -> None:
        jobs = Jobs("test", 1)
        with pytest.raises(RuntimeError) as caught:
            await asyncio.wait_for(jobs.run(job), 20)
        assert isinstance(caught.value.__cause__, kind)
        assert jobs.close(20)

    asyncio.run(asked())


def test_as_many_jobs_as_allowed_and_no_more() -> None:
    async def asked() -> None:
        jobs, held = Jobs("test", 2), threading.Event()
        first = [asyncio.create_task(jobs.run(held.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Refused) as caught:
            await jobs.run(held.wait)
        assert (caught.value.problem.status, caught.value.problem.retry_after) == (429, 1)
        held.set()
        assert await asyncio.gather(*first, jobs_again(jobs)) == [True, True, 5]

    async def jobs_again(jobs: Jobs) -> int:
        while True:
            with contextlib.suppress(Refused):
                return await jobs.run(lambda: 5)
            await asyncio.sleep(0.01)

    asyncio.run(asked())


class Faulty(GLM):
    """A model whose preparations run a test's function first."""

    fault: Callable[[], None]

    def prepare(self, *args: Any, **options: Any) -> Any:
        self.fault()
        return super().prepare(*args, **options)

    def prompt_ids(self, *args: Any, **options: Any) -> list[int]:
        self.fault()
        return super().prompt_ids(*args, **options)

    def continuation(self, *args: Any, **options: Any) -> Any:
        self.fault()
        return super().continuation(*args, **options)

    def apply_template(self, *args: Any, **options: Any) -> str:
        self.fault()
        return super().apply_template(*args, **options)


@pytest.fixture(scope="module")
def faulty(tiny_gguf: Callable[[str], Path]) -> Iterator[Served]:
    settings = ServerSettings("tiny", limits=Limits(preparing=4))
    with serving(settings, lambda: Faulty(tiny_gguf("Q8_0"))) as running:
        yield running


def set_fault(served: Served, fault: Callable[[], None]) -> None:
    assert isinstance(served.glm, Faulty)
    served.glm.fault = fault


@pytest.mark.parametrize("path", ASKED)
@pytest.mark.parametrize("kind", [StopIteration, KeyError, SystemExit, RecursionError], ids=lambda kind: kind.__name__)
def test_an_error_of_the_servers_own_is_a_500_with_an_id_counted_and_logged_once(
    faulty: Served, caplog: pytest.LogCaptureFixture, kind: type[BaseException], path: str
) -> None:
    def fail() -> None:
        raise kind("inside")

    set_fault(faulty, fail)
    with caplog.at_level(logging.ERROR):
        answer = httpx.post(faulty.url + path, json=ASKED[path], timeout=20)
    assert answer.status_code == 500
    error = answer.json()["error"]
    assert (error if isinstance(error, str) else error["message"]) == "An error of the server's own; see its log."
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert answer.headers["x-request-id"] in errors[0].getMessage()
    assert f"{kind.__name__}" in (caplog.text)
    counted = re.search(rf'glm_gguf_requests_total{{path="{path}",status="(\d+)"}}', metrics(faulty))
    assert counted is not None
    assert counted[1] == "500"


def metrics(served: Served) -> str:
    return httpx.get(f"{served.url}/metrics").text


def test_many_such_requests_leave_every_thread_free(faulty: Served) -> None:
    set_fault(faulty, lambda: next(iter(())))
    assert {chat(faulty.url).status_code for _ in range(20)} == {500}
    set_fault(faulty, lambda: None)
    assert chat(faulty.url).status_code == 200
    until(lambda: faulty.service.active == 0)


@pytest.mark.parametrize("fields", [{}, {"tools": [TOOLS["add"]]}], ids=["rendering", "compiling"])
def test_a_client_that_leaves_while_its_request_is_prepared_is_let_go(faulty: Served, fields: dict[str, Any]) -> None:
    held, begun = threading.Event(), threading.Event()
    set_fault(faulty, lambda: (begun.set(), held.wait(20), None)[2])
    with connection(
        faulty,
        posted(json.dumps({**SHORT, **fields, "ignore_eos": True, "temperature": 2, "max_tokens": 4000}).encode()),
    ):
        assert begun.wait(20)
        assert faulty.service.active == 1
    until(lambda: faulty.service.active == 0)
    steps = faulty.glm.status.steps
    held.set()
    until(lambda: idle(faulty))
    set_fault(faulty, lambda: None)
    assert chat(faulty.url).status_code == 200
    assert faulty.glm.status.steps - steps < 1000


def test_one_request_more_than_may_be_prepared_is_429_and_the_others_are_answered(faulty: Served) -> None:
    held = threading.Event()
    set_fault(faulty, lambda: (held.wait(20), None)[1])
    body = posted(json.dumps(SHORT).encode())
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(connection(faulty, body)) for _ in range(4)]
        until(lambda: len(faulty.service._rendering._open) == 4)
        refused = chat(faulty.url)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert httpx.get(f"{faulty.url}/health").json() == {"status": "ready"}
        held.set()
        assert {one.recv(20)[:12] for one in waiting} == {b"HTTP/1.1 200"}


def test_a_preparation_without_end_is_408(tiny_gguf: Callable[[str], Path]) -> None:
    held = threading.Event()
    settings = ServerSettings("tiny", limits=Limits(preparing_seconds=0.1))
    with serving(settings, lambda: Faulty(tiny_gguf("Q8_0"))) as hurried:
        set_fault(hurried, lambda: (held.wait(20), None)[1])
        late = chat(hurried.url)
        held.set()
    assert (late.status_code, late.json()["error"]["code"]) == (408, "deadline_exceeded")


class Broken:
    """The events of an answer that raises an unexpected error."""

    prompt_tokens = 1

    def __aiter__(self) -> Broken:
        return self

    async def __anext__(self) -> Any:
        raise KeyError("unforeseen")

    def close(self) -> None:
        """Nothing to stop."""


@pytest.mark.parametrize("n", [1, 2])
def test_an_error_of_the_servers_own_is_told_as_the_last_event_of_a_stream(
    n: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def read() -> list[bytes]:
        form = AnswerForm(logprobs=False, legacy=False, usage=False)
        answers = [Broken() for _ in range(n)]
        return [piece async for piece in chunk_stream(ChunkWriter(n, "tiny", "fp", form), answers, usage=False)]

    last = asyncio.run(asyncio.wait_for(read(), PATIENCE))[-1]
    assert json.loads(last.removeprefix(b"data: "))["error"]["type"] == "server_error"
    assert caplog.text.count("KeyError: 'unforeseen'") == 1


STUCK = """
import threading, sys
from glm_gguf.model import GLM
GLM.prepare = lambda *args, **options: threading.Event().wait()
from glm_gguf.cli.main import main
sys.argv[0] = "glm-gguf"
main()
"""


def test_the_second_signal_ends_a_server_whose_threads_go_on_and_on(tiny_gguf: Callable[[str], Path]) -> None:
    command = [sys.executable, "-c", STUCK, "serve", str(tiny_gguf("Q8_0")), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        try:
            assert running.stderr is not None
            found = re.search(r"http://(127\.0\.0\.1):(\d+)/", running.stderr.readline())
            assert found is not None
            url = f"http://{found[1]}:{found[2]}"
            until(lambda: httpx.get(f"{url}/health").json() == {"status": "ready"})
            with contextlib.ExitStack() as stack:
                waiting = [
                    stack.enter_context(socket.create_connection((found[1], int(found[2])), 20)) for _ in range(3)
                ]
                for one in waiting:
                    one.sendall(posted(json.dumps(SHORT).encode()))
                httpx.get(f"{url}/health")
                running.send_signal(signal.SIGTERM)
                until(lambda: httpx.get(f"{url}/health").json() == {"status": "ending"})
                running.send_signal(signal.SIGTERM)
                assert running.wait(20) == 0
                assert all(one.recv(10) == b"" for one in waiting)
            assert "Traceback" not in running.stderr.read()
        finally:
            running.kill()
