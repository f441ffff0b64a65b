"""Fields that our schemas do not declare: refused, or ignored and named."""

from __future__ import annotations

import logging
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from server.questions import HELLO, SHORT
from server.serving import Served, chat, serving

from glm_gguf import GLM
from glm_gguf.server.bodies.field_decisions import NoEffect, RefusedField, asks_for_nothing
from glm_gguf.server.bodies.ignored_fields import IGNORED_HEADER
from glm_gguf.server.bodies.known_fields import KNOWN_FIELDS
from glm_gguf.server.bodies.misplaced_fields import advice
from glm_gguf.server.settings import ServerSettings

REPOSITORY = Path(__file__).resolve().parents[2]
PATHS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": SHORT,
    "/v1/completions": {"prompt": "Hello", "temperature": 0, "max_tokens": 2},
    "/v1/responses": {"input": "Hello", "temperature": 0, "max_output_tokens": 4},
    "/v1/messages": {"model": "tiny", "messages": HELLO, "max_tokens": 4},
    "/v1/embeddings": {"input": "Hello"},
    "/api/chat": {"messages": HELLO, "options": {"num_predict": 2}},
    "/api/generate": {"prompt": "Hello", "options": {"num_predict": 2}},
    "/api/embed": {"input": "Hello"},
    "/api/embeddings": {"prompt": "Hello"},
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("name", "value"),
    [("mirostat", 2), ("min_tokens", 5), ("bad_words", ["x"]), ("xtc_probability", 0.5), ("use_beam_search", True)],
)
def test_what_there_is_not_is_refused_by_name(served: Served, path: str, name: str, value: Any) -> None:
    response = httpx.post(f"{served.url}{path}", json={**PATHS[path], name: value})
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error if isinstance(error, str) else error["message"]).startswith(f"{name}: ")


@pytest.mark.parametrize("path", PATHS)
def test_null_asks_for_nothing_whatever_the_field(served: Served, path: str) -> None:
    wanted = PATHS[path]
    nothing = {name: None for name in KNOWN_FIELDS if name not in wanted}
    response = httpx.post(f"{served.url}{path}", json=wanted | nothing)
    assert response.status_code == 200, response.text
    assert IGNORED_HEADER not in response.headers


@pytest.mark.parametrize("name", [name for name, field in KNOWN_FIELDS.items() if isinstance(field, RefusedField)])
def test_a_refused_field_gets_one_advice(name: str) -> None:
    field = KNOWN_FIELDS[name]
    assert isinstance(field, RefusedField)
    said = advice(field)
    assert not ("leave it out" in said and ("use " in said or "give " in said))


OFF = [
    pytest.param(name, value, id=f"{name} {value}")
    for name, field in KNOWN_FIELDS.items()
    if isinstance(field, RefusedField)
    for value in (*field.off, [], {}, "", *(() if any(one is True for one in field.off) else (False, "off")))
]


@pytest.mark.parametrize(("name", "value"), OFF)
def test_values_that_ask_for_nothing_are_known(name: str, value: Any) -> None:
    field = KNOWN_FIELDS[name]
    assert isinstance(field, RefusedField)
    assert asks_for_nothing(value, field.off)


@pytest.mark.parametrize("value", [1, 0.5, True, "x", ["x"], {"x": 1}, [None]], ids=str)
def test_other_values_ask_for_something(value: Any) -> None:
    assert not asks_for_nothing(value)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_field_that_nobody_knows_is_named_in_a_header(served: Served, stream: bool) -> None:
    response = chat(
        served.url, {**SHORT, "wurst": 1, "käse, alt": 2, "keep_alive": 5, "nothing": None, "stream": stream}
    )
    assert response.status_code == 200
    assert response.headers[IGNORED_HEADER] == "wurst, k%C3%A4se%2C%20alt, keep_alive"


def test_the_log_names_such_a_field_once(open_tiny: Callable[[], GLM], caplog: pytest.LogCaptureFixture) -> None:
    # A server of its own: the log names so many fields and no more, and others' tests send thousands.
    with caplog.at_level(logging.WARNING), serving(ServerSettings("tiny"), open_tiny) as served:
        for _ in range(3):
            chat(served.url, {**SHORT, "surely_new": 1})
    assert [record for record in caplog.messages if "surely_new" in record] == [
        "requests have fields that the server ignores: 'surely_new'"
    ]


@pytest.mark.parametrize("name", [name for name, field in KNOWN_FIELDS.items() if isinstance(field, NoEffect)])
def test_what_changes_no_answer_passes_without_a_word(served: Served, name: str) -> None:
    response = httpx.post(f"{served.url}/v1/embeddings", json={"input": "Hello", name: "something"})
    assert response.status_code == 200
    assert IGNORED_HEADER not in response.headers


def test_the_page_of_fields_is_that_of_the_table() -> None:
    script = runpy.run_path(str(REPOSITORY / "scripts" / "server_fields.py"))
    page = (REPOSITORY / "docs" / "server-fields.md").read_text("utf-8")
    assert page == script["page"](), "run scripts/server_fields.py"


def test_the_header_ends_somewhere(served: Served) -> None:
    response = chat(served.url, {**SHORT, **{f"made_up_{number}" * 20: 1 for number in range(500)}})
    assert response.status_code == 200
    assert len(response.headers[IGNORED_HEADER]) < 4096
