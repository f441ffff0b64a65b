"""Streams tell how far a long prompt is computed, in comments or chunks; the end tells what the answer took."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from server.serving import Served, serving

from glm_gguf import GLM, EngineOptions
from glm_gguf.server.settings import ServerSettings

LONG = "What is 37 plus 58, and what is the weather in Paris? " * 12
MESSAGES = [{"role": "user", "content": LONG}]
ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": MESSAGES, "max_tokens": 4},
    "/v1/completions": {"prompt": LONG, "max_tokens": 4},
    "/v1/responses": {"input": LONG, "max_output_tokens": 16},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 4},
}


@pytest.fixture
def served(tiny_gguf: Callable[[str], Path]) -> Iterator[Served]:
    options = EngineOptions(threads=1, n_ctx=2048, n_batch=32)
    with serving(ServerSettings("tiny"), lambda: GLM(tiny_gguf("Q8_0"), options=options)) as running:
        yield running


def _lines(served: Served, path: str, **fields: Any) -> list[str]:
    body = {"model": "tiny", "temperature": 0, "stream": True, **ASKED[path], **fields}
    response = httpx.post(served.url + path, json=body, timeout=30)
    assert response.status_code == 200, response.text
    return response.text.splitlines()


@pytest.mark.parametrize("path", ASKED)
def test_comments_tell_it(served: Served, path: str) -> None:
    lines = _lines(served, path)
    told = [line for line in lines if line.startswith(": prompt: ")]
    counts = [int(line.split()[2]) for line in told]
    total = int(told[-1].split()[4])
    assert len(told) > 3
    assert counts == sorted(counts)
    assert counts[-1] == total
    assert "prompt_progress" not in "".join(lines)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_chunks_tell_it_where_they_are_asked_for(served: Served, path: str) -> None:
    lines = _lines(served, path, return_progress=True)
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    told = [chunk["prompt_progress"] for chunk in chunks if "prompt_progress" in chunk]
    assert [step["processed"] for step in told][:2] == [32, 64]
    assert told[-1]["processed"] == told[-1]["total"]
    assert {step["cache"] for step in told} == {0}
    assert all(earlier["time_ms"] <= later["time_ms"] for earlier, later in itertools.pairwise(told))
    assert not [line for line in lines if line.startswith(": prompt")]
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks if "prompt_progress" in chunk)


@pytest.mark.parametrize("path", ASKED)
def test_whole_answers_know_nothing_of_it(served: Served, path: str) -> None:
    body = {"model": "tiny", **ASKED[path]}
    assert "prompt_progress" not in httpx.post(served.url + path, json=body, timeout=30).raise_for_status().json()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_timings_are_those_of_llama_server(served: Served, path: str) -> None:
    began = time.perf_counter()
    answer = httpx.post(served.url + path, json={"model": "tiny", "temperature": 0, **ASKED[path]}, timeout=30).json()
    passed = 1000 * (time.perf_counter() - began)
    timings, usage = answer["timings"], answer["usage"]
    assert timings["prompt_n"] == usage["prompt_tokens"]
    assert (timings["cache_n"], timings["predicted_n"]) == (0, usage["completion_tokens"])
    assert timings["predicted_ms"] > 0
    assert 0 < timings["prompt_ms"] < passed - timings["predicted_ms"]
    assert timings["prompt_per_second"] == pytest.approx(1000 * timings["prompt_n"] / timings["prompt_ms"])
    lines = _lines(served, path, temperature=0)
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    told = [chunk for chunk in chunks if "timings" in chunk]
    assert [chunk["choices"][0]["finish_reason"] for chunk in told] == [answer["choices"][0]["finish_reason"]]
    assert told[0]["timings"]["prompt_n"] == 1
