"""Forms of the answer that are invalid, impossible or costly."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from server.questions import SHORT
from server.serving import Served, chat


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


def test_a_hostile_schema_holds_up_nobody(served: Served) -> None:
    """Many schemas compile slowly at once; plain requests are answered meanwhile."""
    items = {"anyOf": [{"type": "string", "pattern": f"^(a|b|{n}){{1,200}}$"} for n in range(200)]}
    start = time.perf_counter()
    alone = chat(served.url).elapsed.total_seconds()

    def hostile(number: int) -> int:
        schema = {"type": "object", "properties": {f"p{number}": {"type": "array", "items": items}}}
        form = {"type": "json_schema", "json_schema": {"schema": schema}}
        return chat(served.url, {**SHORT, "response_format": form}).status_code

    with ThreadPoolExecutor(12) as pool:
        costly = [pool.submit(hostile, number) for number in range(12)]
        plain = []
        while not all(one.done() for one in costly):
            plain.append(chat(served.url).elapsed.total_seconds())
    whole = time.perf_counter() - start
    assert {one.result() for one in costly} <= {200, 400}
    assert statistics.median(plain) < max(0.5 * whole, 20 * alone)
