"""Ollama's API as programs use it that have no client of their own: headers, lines, names, access, odd bodies."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ollama import Options
from ollama._types import ChatRequest, EmbeddingsRequest, EmbedRequest, GenerateRequest, PullRequest, ShowRequest
from pydantic import BaseModel
from server.questions import HELLO, TOOLS, WEATHER
from server.serving import Served, serving

from glm_gguf import GLM
from glm_gguf.server.bodies.ignored_fields import IGNORED_HEADER
from glm_gguf.server.bodies.known_fields import KNOWN_FIELDS
from glm_gguf.server.ollama import model_routes, pull
from glm_gguf.server.ollama.embed import OllamaEmbeddingsRequest, OllamaEmbedRequest
from glm_gguf.server.ollama.history import openai_messages
from glm_gguf.server.ollama.model_details import tagged
from glm_gguf.server.ollama.options import OllamaOptions
from glm_gguf.server.ollama.request import OllamaChatRequest, OllamaGenerateRequest
from glm_gguf.server.ollama.requested_model import kept_seconds
from glm_gguf.server.problem import Refused
from glm_gguf.server.settings import ServerSettings

SHORT: dict[str, Any] = {"messages": HELLO, "stream": False, "options": {"temperature": 0, "num_predict": 4}}
PAIRS: dict[str, tuple[type[BaseModel], type[BaseModel]]] = {
    "chat": (ChatRequest, OllamaChatRequest),
    "generate": (GenerateRequest, OllamaGenerateRequest),
    "embed": (EmbedRequest, OllamaEmbedRequest),
    "embeddings": (EmbeddingsRequest, OllamaEmbeddingsRequest),
    "options": (Options, OllamaOptions),
    "show": (ShowRequest, model_routes.ShowRequest),
    "pull": (PullRequest, pull.PullRequest),
}


def chat(served: Served, **fields: Any) -> httpx.Response:
    return httpx.post(f"{served.url}/api/chat", json={**SHORT, **fields}, timeout=30)


@pytest.mark.parametrize(("theirs", "ours"), PAIRS.values(), ids=PAIRS.keys())
def test_every_field_of_the_client_is_known(theirs: type[BaseModel], ours: type[BaseModel]) -> None:
    assert set(theirs.model_fields) - set(ours.model_fields) - set(KNOWN_FIELDS) == set()


# what is ignored, and what is refused


def test_what_is_ignored_is_named(served: Served) -> None:
    options = {"num_ctx": 10**6, "num_thread": 3, "wurst": 1, "temperature": 0, "num_predict": 2}
    response = chat(served, options=options, shift=True, surely=1)
    assert response.status_code == 200
    named = ["shift", "surely", "options.num_thread", "options.wurst", "options.num_ctx"]
    assert response.headers[IGNORED_HEADER] == ", ".join(named)


def test_what_is_met_is_not_named(served: Served) -> None:
    response = chat(served, options={"num_ctx": 2048, "num_predict": 2, "penalize_newline": True}, keep_alive=-1)
    assert IGNORED_HEADER not in response.headers
    embedded = httpx.post(f"{served.url}/api/embed", json={"input": "a", "options": {"num_ctx": 8, "top_k": 4}})
    assert embedded.headers[IGNORED_HEADER] == "options.top_k"


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an option with two values": ({"temperature": 1}, "options.temperature: it has another value beside the options"),
    "a length with two values": ({"max_output_tokens": 5}, "max_output_tokens: it sets the same as 'num_predict'"),
    "several answers": ({"n": 2}, "n: a reply has one answer"),
    "another API's field": ({"suffix": "x"}, "suffix: GLM-4-0414 cannot fill in the middle"),
    "a misspelled option": ({"options": {"temprature": 1}}, "options.temprature: its name is `temperature` here."),
    "a field among options": ({"options": {"think": True}}, "options.think: give `think` at the top of the request."),
    "a misspelled field": ({"messagess": HELLO}, "messagess: its name is `messages` here."),
    "line breaks": ({"options": {"penalize_newline": False}}, "options.penalize_newline: "),
    "an unknown function": ({"tool_choice": {"function": {"name": "f"}}}, "tool_choice: "),
    "an empty system message": ({"system": "Be brief."}, "system: give a message of the role system"),
    "too many stop texts": ({"options": {"stop": ["a"] * 200}}, "options.stop: "),
    "a schema that is none": ({"format": "xml"}, "format: this is not a JSON schema."),
    "a misspelled key": ({"messages": [{**HELLO[0], "toolCalls": [{}]}]}, "messages[0].toolCalls: its name is"),
    "a call without a name": (
        {"messages": [*HELLO, {"role": "assistant", "tool_calls": [{"function": {}}]}]},
        "messages[1].tool_calls[0].function.name: ",
    ),
    "log probabilities": ({"top_logprobs": 2}, "top_logprobs: it needs `logprobs`"),
    "an effort": ({"think": "lots"}, "think: 'lots' is not an effort"),
}


@pytest.mark.parametrize(("fields", "error"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused_is_named_in_ollamas_form(served: Served, fields: dict[str, Any], error: str) -> None:
    response = chat(served, **fields)
    assert response.status_code == 400, response.text
    assert list(response.json()) == ["error"]
    assert response.json()["error"].startswith(error)


def test_errors_of_paths_have_the_form_too(served: Served) -> None:
    for method, path, status in [("GET", "/api/nothing", 404), ("GET", "/api/chat", 405), ("POST", "/api/chat", 400)]:
        response = httpx.request(method, f"{served.url}{path}")
        assert response.status_code == status
        assert isinstance(response.json()["error"], str)


def test_sampling_may_stand_beside_the_options(served: Served) -> None:
    """The AI SDK's provider sends it so, and Ollama ignores it."""
    reply = chat(served, options=None, temperature=0, max_output_tokens=3, top_p=1.0, seed=3).json()
    assert (reply["eval_count"], reply["done_reason"]) == (3, "length")
    called = chat(served, messages=WEATHER, tools=[TOOLS["get_weather"]], tool_choice="none", options={}, temperature=0)
    assert "tool_calls" not in called.json()["message"]
    raw = {"prompt": "abab", "raw": True, "stream": False, "max_tokens": 2, "timeout": 20}
    assert httpx.post(f"{served.url}/api/generate", json=raw).json()["eval_count"] == 2


# streams


def test_a_stream_has_one_object_a_line(served: Served) -> None:
    with httpx.stream("POST", f"{served.url}/api/chat", json={**SHORT, "stream": None}) as response:
        assert response.headers["content-type"] == "application/x-ndjson"
        lines = [json.loads(line) for line in response.iter_lines()]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert all(earlier["created_at"] < later["created_at"] for earlier, later in pairwise(lines))


def test_silence_is_filled_with_spaces_that_no_parser_sees(quick: Served) -> None:
    held, glm = threading.Event(), quick.glm
    blocker = threading.Thread(target=lambda: glm._engine.call(lambda *_: held.wait(0.4)))
    blocker.start()
    content = httpx.post(f"{quick.url}/api/chat", json={**SHORT, "stream": True}).content
    blocker.join()
    assert content.startswith(b"  ")
    assert all(isinstance(json.loads(line), dict) for line in content.splitlines())


# names, histories and durations


@pytest.mark.parametrize(
    ("name", "whole"),
    [("tiny", "tiny:latest"), ("tiny:8b", "tiny:8b"), ("a.host:80/tiny", "a.host:80/tiny:latest"), ("o/t:v", "o/t:v")],
)
def test_a_name_without_a_tag_is_the_latest(name: str, whole: str) -> None:
    assert tagged(name) == whole


def test_results_go_to_the_calls_of_their_functions_in_any_order() -> None:
    calls = [{"function": {"name": name, "arguments": {}}} for name in ("f", "g", "f")]
    results = [
        {"role": "tool", "tool_name": name, "content": text} for name, text in [("g", "1"), ("f", "2"), ("f", "3")]
    ]
    _, call, *answered = openai_messages([*HELLO, {"role": "assistant", "tool_calls": calls}, *results])
    ids = [one["id"] for one in call["tool_calls"]]
    assert [message["tool_call_id"] for message in answered] == [ids[1], ids[0], ids[2]]


def test_ids_that_are_given_win_over_names() -> None:
    calls = [{"id": call_id, "function": {"name": "f", "arguments": {}}} for call_id in ("a", "b")]
    history = [{"role": "assistant", "tool_calls": calls}, {"role": "tool", "tool_name": "f", "tool_call_id": "b"}]
    assert openai_messages(history)[1]["tool_call_id"] == "b"


def test_a_result_that_names_nothing_goes_to_the_next_call(served: Served) -> None:
    calls = [{"function": {"name": name, "arguments": {}}} for name in ("f", "g")]
    results = [{"role": "tool", "content": "one"}, {"role": "tool", "tool_name": "unknown", "content": "two"}]
    history = openai_messages([*HELLO, {"role": "assistant", "tool_calls": calls}, *results])
    assert served.glm.apply_template(history).count("<|observation|>") == 2
    assert [message["tool_call_id"] for message in history[2:]] == [None, None]


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        *[(None, None), ("", None), (0, 0), (-1, -1), (3.5, 3.5), ("0", 0), ("-1", -1), ("5m", 300), ("1h30m", 5400)],
        *[
            ("1.5h", 5400),
            ("300ms", 0.3),
            ("-1m", -1),
            (10**400, -1),
            (1e300, -1),
            ("2us", 2e-6),
            (".5s", 0.5),
            ("1m.5s", 60.5),
        ],
    ],
)
def test_durations_are_read_as_go_reads_them(given: Any, seconds: float | None) -> None:
    assert kept_seconds(given) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("given", ["soon", "5", "5 m", "m", "1e3s", "5mm5", "9" * 100, "٣m"])
def test_other_texts_are_no_durations(given: str) -> None:
    if given == "5":  # Ollama refuses it, but programs mean seconds
        assert kept_seconds(given) == 5
        return
    with pytest.raises(Refused):
        kept_seconds(given)


# how programs look whether a server is there


def test_programs_find_ollama_and_browsers_the_page(served: Served) -> None:
    assert httpx.get(served.url).text == "Ollama is running"
    assert httpx.head(served.url).status_code == 200
    page = httpx.get(served.url, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["vary"] == "Accept"


def test_versions_and_lists_have_heads(served: Served) -> None:
    assert tuple(map(int, httpx.get(f"{served.url}/api/version").json()["version"].split("."))) >= (0, 6, 4)
    assert [httpx.head(f"{served.url}/api/{path}").status_code for path in ("version", "tags")] == [200, 200]
    assert httpx.head(f"{served.url}/api/blobs/sha256:0").status_code == 404


# access


def test_keys_and_origins_count_as_elsewhere(open_tiny: Callable[[], GLM]) -> None:
    origin = "https://app.example"
    with serving(ServerSettings("tiny", api_keys=("secret",), origins=(origin,)), open_tiny) as served:
        refused = chat(served)
        assert (refused.status_code, list(refused.json())) == (401, ["error"])
        key = {"Authorization": "Bearer secret"}
        assert httpx.get(f"{served.url}/api/tags", headers=key).status_code == 200
        assert httpx.get(f"{served.url}/api/tags").status_code == 401
        asked = {"Origin": origin, "Access-Control-Request-Method": "DELETE"}
        allowed = httpx.options(f"{served.url}/api/delete", headers=asked).headers
        assert allowed["access-control-allow-origin"] == origin
    with serving(ServerSettings("tiny"), open_tiny) as served:
        assert httpx.post(f"{served.url}/api/chat", json=SHORT, headers={"Origin": origin}).status_code == 403


# odd bodies

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
CALL = st.fixed_dictionaries(
    {}, optional={"id": JSON, "function": st.fixed_dictionaries({}, optional={"name": JSON, "arguments": JSON})}
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"]) | JSON},
    optional={"content": st.text(max_size=8) | JSON, "tool_calls": st.lists(CALL, max_size=2) | JSON}
    | {"tool_name": JSON, "tool_call_id": JSON, "thinking": JSON, "images": JSON},
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "messages": st.lists(MESSAGE, max_size=3) | JSON,
    "options": st.fixed_dictionaries({}, optional=dict.fromkeys(OllamaOptions.model_fields, JSON)) | JSON,
    **dict.fromkeys(("prompt", "input", "system"), st.text(max_size=8) | JSON),
    **dict.fromkeys(("format", "think", "keep_alive", "raw", "logprobs", "top_logprobs", "truncate"), JSON),
    **dict.fromkeys(("tools", "stream", "model", "name", "verbose", "dimensions"), JSON),
}
PATHS = ("chat", "generate", "embed", "embeddings", "show", "pull")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(path=st.sampled_from(PATHS), body=st.fixed_dictionaries({}, optional=FIELDS) | JSON)
def test_no_body_makes_the_server_fail(quick: Served, path: str, body: Any) -> None:
    if isinstance(body, dict) and isinstance(body.get("options"), dict):
        body = {**body, "options": {"num_predict": 2, **body["options"]}}
    response = httpx.post(f"{quick.url}/api/{path}", json=body, timeout=30)
    assert response.status_code < 500, (path, body, response.text)
    if response.status_code != 200:
        assert isinstance(response.json()["error"], str)
