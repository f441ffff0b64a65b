"""Misspelled paths reach the API or get a suggestion, and no path avoids the key."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator

import openai
import pytest
from server.questions import SHORT
from server.serving import Served, serving

from glm_gguf import GLM
from glm_gguf.server.access.paths import meant_path, nearest_path
from glm_gguf.server.settings import ServerSettings

PATHS = frozenset({"/", "/v1/chat/completions", "/v1/models", "/v1/models/", "/health", "/page/", "/docs", "/tokenize"})


@pytest.fixture(scope="module")
def locked(open_tiny: Callable[[], GLM]) -> Iterator[Served]:
    with serving(ServerSettings("tiny", api_keys=("secret",)), open_tiny) as running:
        yield running


def asked(served: Served, method: str, path: str, body: bytes = b"", key: str | None = None) -> tuple[int, bytes]:
    """Return status and body; http.client sends a path as it is."""
    client = http.client.HTTPConnection(*served.address, timeout=30)
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    client.request(method, path, body, headers)
    response = client.getresponse()
    return response.status, response.read()


BODIES = {
    "/chat/completions": b'{"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}',
    "/completions": b'{"prompt": "Hi", "max_tokens": 1}',
    "/embeddings": b'{"input": "Hi"}',
    "/responses": b'{"input": "Hi", "max_output_tokens": 1}',
    "/messages": b'{"model": "glm", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}',
    "/messages/count_tokens": b'{"model": "glm", "messages": [{"role": "user", "content": "Hi"}]}',
}
WRITTEN = ["{path}", "{path}/", "/v1{path}/", "//v1{path}", "/v1/{path}", "/v1/v1{path}", "/v1//{path}//"]


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("path", BODIES)
def test_every_api_answers_however_its_path_is_written(served: Served, path: str, written: str) -> None:
    status, content = asked(served, "POST", written.format(path=path), BODIES[path])
    assert status == 200, content


@pytest.mark.parametrize(
    "path", ["/models", "//v1/models", "/models/", "/v1/models/tiny", "/models/tiny", "/v1//models"]
)
def test_models_are_listed_however_the_path_is_written(served: Served, path: str) -> None:
    assert asked(served, "GET", path)[0] == 200


@pytest.mark.parametrize(
    "path", ["/models", "//v1/models", "/chat/completions", "/v1/v1/models", "//models//", "/v1/models/"]
)
def test_no_way_of_writing_a_path_leads_past_the_key(locked: Served, path: str) -> None:
    method = "POST" if "chat" in path else "GET"
    assert asked(locked, method, path, BODIES["/chat/completions"])[0] == 401
    assert asked(locked, method, path, BODIES["/chat/completions"], "secret")[0] == 200


@pytest.mark.parametrize("path", ["//health", "/health/", "//health//"])
def test_what_is_open_stays_open(locked: Served, path: str) -> None:
    assert asked(locked, "GET", path)[0] == 200


@pytest.mark.parametrize("path", ["/", "/health", "/v1/health", "/models", "/metrics", "/api/tags", "/docs"])
def test_head_is_answered_as_get_without_a_body(served: Served, path: str) -> None:
    # docker's health checks (wget --spider) and monitors ask so
    assert asked(served, "HEAD", path) == (200, b"")


def test_head_needs_the_key_too(locked: Served) -> None:
    assert asked(locked, "HEAD", "/v1/models")[0] == 401


def test_a_client_whose_address_lacks_the_version_works(served: Served) -> None:
    with openai.OpenAI(base_url=served.url, api_key="none", max_retries=0) as client:
        assert client.chat.completions.create(model="tiny", **SHORT).choices
        assert [model.id for model in client.models.list()] == ["tiny"]


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/models", "/v1/models"),
        ("/models/a/b", "/v1/models/a/b"),
        ("/v1/models/a", "/v1/models/a"),
        ("/page/x.js", "/page/x.js"),
        ("//page//x.js", "/page/x.js"),
        ("/", "/"),
        ("//", "/"),
        ("/health", "/health"),
        ("/v1/tokenize", "/tokenize"),
        ("/v1/health/", "/health"),
        ("/nothing/", "/nothing/"),
        ("/v1", "/v1"),
    ],
)
def test_a_path_means_one_of_ours_or_itself(path: str, meant: str) -> None:
    assert meant_path(path, PATHS) == meant


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("/v1/chat/completion", "/v1/chat/completions"),
        ("/chat/completion", "/v1/chat/completions"),
        ("/v1/Chat/Completions", "/v1/chat/completions"),
        ("/api/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/model", "/v1/models"),
        ("/tokenise", "/tokenize"),
        ("/wurst", None),
        ("/" + "x" * 100_000, None),
    ],
    ids=lambda path: str(path)[:40],
)
def test_the_nearest_path_is_named(path: str, nearest: str | None) -> None:
    assert nearest_path(path, PATHS) == nearest


def test_who_asks_for_nothing_of_ours_is_told_what_is_near(served: Served) -> None:
    status, content = asked(served, "POST", "/v1/chat/completion", b"{}")
    assert (status, b"Did you mean /v1/chat/completions?" in content) == (404, True)
    status, content = asked(served, "GET", "/wurst")
    assert (status, b"/docs" in content) == (404, True)


def test_who_asks_in_another_way_is_told_which(served: Served) -> None:
    status, content = asked(served, "GET", "/v1/chat/completions")
    assert (status, b"Use POST." in content) == (405, True)
