"""A server over workers says when it lost one, and answers again when the worker does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from lending import worker
from rough_link import RoughLink
from server.questions import ENDLESS, SHORT
from server.serving import Served, serving
from waiting import until
from workers.test_workers import options, target

from glm_gguf import GLM
from glm_gguf.server.pool.catalogue import ModelFiles
from glm_gguf.server.settings import ServerSettings


@pytest.fixture
def served(tiny_gguf: Callable[[str], Path]) -> Iterator[tuple[Served, RoughLink]]:
    """A server, and the link to its worker."""
    model = tiny_gguf("F16")
    with (
        worker() as lender,
        RoughLink(target(lender)) as link,
        serving(ServerSettings("tiny"), lambda: GLM(model, options=options(link.address))) as running,
    ):
        yield running, link


def status(running: Served) -> tuple[int, str]:
    health = httpx.get(f"{running.url}/health")
    return health.status_code, health.json()["status"]


def test_a_server_that_lost_a_worker_loads_the_model_again(served: tuple[Served, RoughLink]) -> None:
    running, link = served
    url = f"{running.url}/v1/chat/completions"
    expected = httpx.post(url, json=SHORT, timeout=60).json()["choices"]
    assert status(running) == (200, "ready")
    with httpx.stream("POST", url, json={**ENDLESS, "stream": True}, timeout=60) as answer:
        lines = answer.iter_lines()
        next(lines)
        link.refuse()
        rest = [line for line in lines if line]
    assert "worker_lost" in rest[-1]
    assert link.address not in rest[-1]
    until(lambda: status(running) == (503, "degraded"))
    refused = httpx.post(url, json=SHORT, timeout=60)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "worker_lost")
    assert refused.headers["retry-after"] == "5"
    link.admit()
    until(lambda: status(running) == (200, "ready"))
    assert httpx.post(url, json=SHORT, timeout=60).json()["choices"] == expected


def test_it_notices_without_a_request_and_more_than_once(served: tuple[Served, RoughLink]) -> None:
    running, link = served
    for loads in (1, 2):
        assert running.service.pool.models()[0].loads == loads
        link.cut()
        until(lambda loads=loads: running.service.pool.models()[0].loads == loads + 1)  # type: ignore[misc]
        until(lambda: status(running) == (200, "ready"))


def test_a_function_that_returns_the_freed_model_again_is_told_so(
    tiny_gguf: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    with worker() as lender, RoughLink(target(lender)) as link:
        glm = GLM(tiny_gguf("F16"), options=options(link.address))
        with serving(ServerSettings("tiny"), lambda: glm) as running:
            link.cut()
            until(lambda: "the server has freed this model, and got it again; let the function" in caplog.text)
            assert status(running) == (503, "degraded")
            assert running.service.pool.models()[0].loads == 1
    lost = [record.getMessage() for record in caplog.records if "lost a worker" in record.getMessage()]
    assert len(lost) == 1
    assert f"({link.address}: " in lost[0]


def test_of_several_models_the_next_request_loads_the_lost_one(tiny_gguf: Callable[[str], Path]) -> None:
    model = tiny_gguf("F16")
    with worker() as lender, RoughLink(target(lender)) as link:
        catalogue = ModelFiles(
            lambda: {"tiny": model},
            lambda path, beside: GLM(path, options=options(link.address)),
            lambda path, beside: True,
        )
        with serving(ServerSettings("tiny"), catalogue, wait=False) as running:
            body = {**SHORT, "model": "tiny"}
            expected = httpx.post(f"{running.url}/v1/chat/completions", json=body, timeout=60).json()["choices"]
            link.cut()
            until(lambda: running.service.pool.models()[0].state_name == "degraded")
            again = httpx.post(f"{running.url}/v1/chat/completions", json=body, timeout=60).json()["choices"]
    assert again == expected
