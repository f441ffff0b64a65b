"""The queue and its time limits: requests wait, are refused, or end at their limit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from server.questions import ENDLESS, HELLO, SHORT
from server.serving import Served, chat, connection, idle, posted, serving
from waiting import until

from glm_gguf import GLM, EngineOptions
from glm_gguf.server.limits import Limits
from glm_gguf.server.settings import ServerSettings


def test_one_request_does_not_wait_for_another(served: Served) -> None:
    body = {**ENDLESS, "stream": True}
    with httpx.stream("POST", f"{served.url}/v1/chat/completions", json=body, timeout=30) as endless:
        lines = endless.iter_lines()
        next(lines)
        assert chat(served.url).status_code == 200
        until(lambda: served.glm.status.running == 1)


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


@pytest.fixture(scope="module")
def hasty(open_tiny: Callable[[], GLM]) -> Iterator[Served]:
    """A server whose time limit passes while requests are still in the queue."""
    with serving(ServerSettings("tiny", limits=Limits(seconds=1e-6)), open_tiny) as running:
        yield running


@pytest.mark.parametrize(
    ("path", "body", "end"),
    [
        ("chat/completions", SHORT, '"code": "deadline_exceeded"'),
        ("chat/completions", {**SHORT, "n": 2}, '"code": "deadline_exceeded"'),
        ("completions", {"prompt": "abab"}, '"code": "deadline_exceeded"'),
        ("responses", {"input": "Hello"}, '"status": "failed"'),
        ("messages", {"model": "m", "messages": HELLO, "max_tokens": 6}, '"type": "timeout_error"'),
    ],
    ids=["chat", "two choices", "completions", "responses", "messages"],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_time_that_is_over_before_the_answer_begins_is_an_error(
    hasty: Served, path: str, body: dict[str, Any], end: str, stream: bool
) -> None:
    late = httpx.post(f"{hasty.url}/v1/{path}", json={**body, "stream": stream}, timeout=20)
    if stream:
        assert late.status_code == 200
        assert end in late.text.strip().splitlines()[-1]
    else:
        assert late.status_code == 408
        assert "before the answer began" in late.json()["error"]["message"]


def test_an_answer_that_takes_too_long_ends_as_it_is(quick: Served, served: Served) -> None:
    answer = chat(quick.url, {**ENDLESS, "logit_bias": {}}).json()
    assert answer["choices"][0]["finish_reason"] == "length"
    short = chat(served.url, {**ENDLESS, "timeout": 0.5}).json()
    assert short["choices"][0]["finish_reason"] == "length"
    assert short["usage"]["completion_tokens"] < 4000
