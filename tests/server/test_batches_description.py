"""/v1/files and /v1/batches keep their description too (schemathesis)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from server.serving import Served, serving

from glm_gguf import GLM
from glm_gguf.server.app import create_app
from glm_gguf.server.batches.settings import BatchSettings
from glm_gguf.server.settings import ServerSettings

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def described() -> dict[str, Any]:
    """The description of a server that keeps batches."""
    with TemporaryDirectory() as directory:
        app = create_app(ServerSettings("tiny", batches=BatchSettings(Path(directory))), never)
        app.state.batches.close()
        return app.openapi()


def never() -> GLM:
    raise AssertionError("the description needs no model")


DESCRIPTION = described()
schema = schemathesis.openapi.from_dict(DESCRIPTION).include(path_regex="^/v1/(files|batches)")
schema.config.phases.coverage.enabled = False


@pytest.fixture(scope="module")
def keeping(open_tiny: Callable[[], GLM], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that keeps batches."""
    with serving(ServerSettings("tiny", batches=BatchSettings(tmp_path_factory.mktemp("kept"))), open_tiny) as running:
        yield running


@schema.parametrize()
@settings(max_examples=8, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_the_description_allows_is_answered_as_it_says(case: schemathesis.Case, keeping: Served) -> None:
    case.call_and_validate(base_url=keeping.url, checks=CHECKS, timeout=60)


def test_every_route_says_what_it_does() -> None:
    paths = [path for path in DESCRIPTION["paths"] if path.startswith(("/v1/files", "/v1/batches"))]
    assert len(paths) == 6
    for path in paths:
        for operation in DESCRIPTION["paths"][path].values():
            assert operation["summary"]
            assert operation["description"]
