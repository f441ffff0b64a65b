"""The API keeps its description: every allowed request gets a described response (schemathesis)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from server.serving import Served, serving

from glm_gguf import GLM, EngineOptions, SamplingParams
from glm_gguf.server.app import create_app
from glm_gguf.server.docs.page import description_page
from glm_gguf.server.limits import Limits
from glm_gguf.server.settings import ServerSettings

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def never() -> GLM:
    raise AssertionError("the description needs no model")


DESCRIPTION: dict[str, Any] = create_app(ServerSettings("tiny"), never).openapi()
OPERATIONS = [
    pytest.param(operation, id=f"{method.upper()} {path}")
    for path, methods in DESCRIPTION["paths"].items()
    for method, operation in methods.items()
]


@pytest.fixture(scope="module")
def hurried(tiny_gguf: Callable[[str], Path]) -> Iterator[Served]:
    """A server whose answers are short, and get little time."""
    path, options = tiny_gguf("Q8_0"), EngineOptions(threads=1, n_ctx=512)
    limits = Limits(seconds=0.5, choices=4, inputs=16)
    settings = ServerSettings("tiny", sampling=SamplingParams(max_tokens=16), limits=limits)
    with serving(settings, lambda: GLM(path, options=options)) as running:
        yield running


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """One connection for thousands of requests."""
    with requests.Session() as made:
        made.trust_env = False
        yield made


COUNTS = ["/v1/messages/count_tokens", "/v1/responses/input_tokens", "/api/generate", "/api/embeddings"]
"""Routes with the bodies of others: drawn examples are enough, hundreds of systematic ones are sent to the others."""
EXAMPLES = settings(
    max_examples=8,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
)
schema = schemathesis.openapi.from_dict(DESCRIPTION).exclude(path=COUNTS)
counting = schemathesis.openapi.from_dict(DESCRIPTION).include(path=COUNTS)
counting.config.phases.coverage.enabled = False


@schema.parametrize()
@EXAMPLES
def test_what_the_description_allows_is_answered_as_it_says(
    case: schemathesis.Case, hurried: Served, session: requests.Session
) -> None:
    case.call_and_validate(base_url=hurried.url, session=session, checks=CHECKS, timeout=30)


@counting.parametrize()
@EXAMPLES
def test_so_it_is_where_bodies_are_those_of_others(
    case: schemathesis.Case, hurried: Served, session: requests.Session
) -> None:
    case.call_and_validate(base_url=hurried.url, session=session, checks=CHECKS, timeout=30)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_route_says_what_it_does(operation: dict[str, Any]) -> None:
    assert operation["summary"] not in ("", "Create")
    assert operation["description"]
    if "requestBody" in operation:
        (name,) = (
            content["schema"]["$ref"].rpartition("/")[2] for content in operation["requestBody"]["content"].values()
        )
        assert DESCRIPTION["components"]["schemas"][name]["examples"]
        assert {"400", "401", "413", "429", "503"} <= set(operation["responses"])


def test_the_page_shows_every_route_and_runs_nothing() -> None:
    page = description_page(DESCRIPTION)
    for path, methods in DESCRIPTION["paths"].items():
        for method, operation in methods.items():
            assert f"{escape(operation['summary'])}: <code>{method.upper()} {escape(path)}</code>" in page
    (example,) = DESCRIPTION["components"]["schemas"]["ResponseRequest"]["examples"]
    assert escape(json.dumps(example)) in page
    assert "<script" not in page
