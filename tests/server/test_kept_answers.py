"""/page-answers: an answer goes on while the page is reloaded, for a time, and is sent again from its start."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from server.conftest import OPTIONS
from server.questions import ENDLESS, HELLO
from server.serving import Served, idle, serving
from waiting import PATIENCE, until

from glm_gguf import GLM
from glm_gguf.server.limits import Limits
from glm_gguf.server.pool.catalogue import ModelFiles
from glm_gguf.server.settings import ServerSettings

BODY: dict[str, Any] = {"messages": HELLO, "temperature": 0, "max_tokens": 300, "ignore_eos": True, "stream": True}


@pytest.fixture(scope="module")
def server(open_tiny: Callable[[], GLM]) -> Iterator[Served]:
    """A server that keeps two answers for a minute."""
    limits = Limits(kept_answers=2, kept_answer_seconds=60)
    with serving(ServerSettings("tiny", limits=limits), open_tiny) as running:
        yield running


@pytest.fixture
def forgetful(open_tiny: Callable[[], GLM]) -> Iterator[Served]:
    """A server that keeps an answer without a reader for a tenth of a second."""
    with serving(ServerSettings("tiny", limits=Limits(kept_answer_seconds=0.1)), open_tiny) as running:
        yield running


@pytest.fixture
def address(server: Served) -> Iterator[str]:
    """The address of a new answer, which is stopped at the end."""
    made = f"{server.url}/page-answers/{secrets.token_hex(16)}"
    yield made
    assert httpx.delete(made).status_code == 204
    until(lambda: idle(server))


def chunks(response: httpx.Response) -> list[str]:
    """The chunks of a stream without the times that no two streams share."""
    return [line for line in response.iter_lines() if line.startswith("data: ")]


def left(address: str, body: dict[str, Any] = BODY) -> str:
    """Begin an answer, read its first chunk, and leave."""
    with httpx.stream("POST", address, json=body, timeout=30) as response:
        assert response.status_code == 200
        return next(line for line in response.iter_lines() if line.startswith("data: "))


def test_an_answer_goes_on_without_its_page_and_is_sent_from_its_beginning(server: Served, address: str) -> None:
    first = left(address)
    for _ in range(2):
        with httpx.stream("GET", address, timeout=30) as again:
            whole = chunks(again)
            assert whole[0] == first
            assert whole[-1] == "data: [DONE]"
            assert '"finish_reason":"length"' in "".join(whole)
    plain = httpx.post(f"{server.url}/v1/chat/completions", json={**BODY, "stream": False}, timeout=30).json()
    assert plain["choices"][0]["finish_reason"] == "length"
    until(lambda: server.service.active == 0)


def test_nobody_reads_and_it_is_stopped_and_forgotten(forgetful: Served) -> None:
    address = f"{forgetful.url}/page-answers/{secrets.token_hex(16)}"
    left(address, {**ENDLESS, "stream": True})
    steps = forgetful.glm.status.steps
    until(lambda: idle(forgetful))
    until(lambda: httpx.get(address).status_code == 404)
    assert forgetful.glm.status.steps - steps < 2000  # to its end it would take 4,000
    assert httpx.get(address).json()["error"]["code"] == "answer_gone"


def test_a_stopped_answer_stops_the_model_and_its_readers(server: Served, address: str) -> None:
    with httpx.stream("POST", address, json={**ENDLESS, "stream": True}, timeout=30) as response:
        lines = response.iter_lines()
        next(lines)
        assert httpx.delete(address).status_code == 204
        until(lambda: idle(server))
        assert "data: [DONE]" not in list(lines)


def test_more_answers_than_are_kept_are_refused_while_all_are_written(server: Served) -> None:
    addresses = [f"{server.url}/page-answers/{secrets.token_hex(16)}" for _ in range(3)]
    endless = {**ENDLESS, "stream": True}
    with (
        httpx.stream("POST", addresses[0], json=endless, timeout=30) as first,
        httpx.stream("POST", addresses[1], json=endless, timeout=30) as second,
    ):
        assert (first.status_code, second.status_code) == (200, 200)
        refused = httpx.post(addresses[2], json=BODY, timeout=30)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        until(lambda: server.glm.status.running == 2)
        httpx.delete(addresses[0])
        assert left(addresses[2])
    for address in addresses:
        httpx.delete(address)
    until(lambda: idle(server))


@pytest.mark.parametrize(
    ("identifier", "headers", "status"),
    [
        ("1234", {}, 400),
        ("f" * 32, {"Origin": "http://elsewhere"}, 403),
        ("f" * 32, {"Sec-Fetch-Site": "cross-site"}, 403),
    ],
    ids=["an identifier that can be guessed", "another origin", "another site"],
)
def test_only_the_page_keeps_answers(server: Served, identifier: str, headers: dict[str, str], status: int) -> None:
    for method in ("GET", "DELETE", "POST"):
        body = BODY if method == "POST" else None
        answer = httpx.request(method, f"{server.url}/page-answers/{identifier}", json=body, headers=headers)
        assert answer.status_code == status


def test_an_identifier_belongs_to_one_answer(server: Served, address: str) -> None:
    left(address)
    taken = httpx.post(address, json=BODY, timeout=30)
    assert (taken.status_code, taken.json()["error"]["code"]) == (409, "answer_exists")


@pytest.mark.parametrize(
    ("identifiers", "refusal"),
    [(("a" * 32, "a" * 32), (409, "answer_exists")), (("a" * 32, "b" * 32), (429, "rate_limit_exceeded"))],
    ids=["one identifier", "two"],
)
def test_of_two_that_begin_at_once_one_is_refused_where_one_can_be_kept(
    tiny_gguf: Callable[[str], Path], identifiers: tuple[str, str], refusal: tuple[int, str]
) -> None:
    go, file = threading.Event(), tiny_gguf("Q8_0")

    def opened(path: Path, beside: Any) -> GLM:
        assert go.wait(PATIENCE)
        return GLM(path, options=OPTIONS)

    catalogue = ModelFiles(lambda: {"tiny": file}, opened, lambda path, beside: True)
    settings = ServerSettings("several", limits=Limits(kept_answers=1))
    with serving(settings, catalogue, wait=False) as running, ThreadPoolExecutor(2) as pool:

        def post(identifier: str) -> httpx.Response:
            body = {**ENDLESS, "model": "tiny", "stream": True}
            return httpx.post(f"{running.url}/page-answers/{identifier}", json=body, timeout=60)

        asked = [pool.submit(post, identifier) for identifier in identifiers]
        until(lambda: len(running.service.pool.chosen("tiny").waiters) == 2)
        go.set()
        until(lambda: any(one.done() for one in asked))
        for identifier in identifiers:
            httpx.delete(f"{running.url}/page-answers/{identifier}")
        answers = sorted((one.result() for one in asked), key=lambda answer: answer.status_code)
        assert [answer.status_code for answer in answers] == [200, refusal[0]]
        assert answers[1].json()["error"]["code"] == refusal[1]
        until(lambda: idle(running))


def test_what_is_refused_is_not_kept(server: Served, address: str) -> None:
    refused = httpx.post(address, json={**BODY, "temperature": -1}, timeout=30)
    assert refused.status_code == 400
    assert httpx.get(address).status_code == 404


def test_an_answer_without_a_page_keeps_its_model_from_sleep(open_tiny: Callable[[], GLM]) -> None:
    with serving(ServerSettings("tiny", sleep_after=0.05), open_tiny, wait=False) as running:
        until(lambda: httpx.get(f"{running.url}/health").json()["status"] in ("ready", "asleep"))
        address = f"{running.url}/page-answers/{secrets.token_hex(16)}"
        left(address, {**BODY, "max_tokens": 1000})
        assert chunks(httpx.get(address, timeout=30))[-1] == "data: [DONE]"
        until(lambda: httpx.get(f"{running.url}/health").json() == {"status": "asleep"})
        assert chunks(httpx.get(address, timeout=30))[-1] == "data: [DONE]"
