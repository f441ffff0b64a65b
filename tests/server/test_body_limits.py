"""Limits of bodies: one more is refused by name at once, and other requests are answered meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from server.questions import SHORT
from server.serving import Served, chat, serving

from glm_gguf import GLM
from glm_gguf.server.limits import Limits
from glm_gguf.server.settings import ServerSettings

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
COMPLETIONS, EMBEDDINGS = "/v1/completions", "/v1/embeddings"


@pytest.fixture(scope="module")
def strict(open_tiny: Callable[[], GLM]) -> Iterator[Served]:
    """A server with small limits of bodies."""
    limits = Limits(
        containers=100,
        values=1000,
        numbers=2000,
        entries=50,
        characters=5000,
        options=10,
        grammar_characters=200,
        inputs=4,
    )
    with serving(ServerSettings("tiny", limits=limits), open_tiny) as running:
        yield running


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


LONG = "a" * 5000
BEYOND: dict[str, tuple[str, dict[str, Any], str]] = {
    "lists and objects": (CHAT, {**SHORT, "x": [[]] * 101}, "lists and objects"),
    "values": (CHAT, {**SHORT, "chat_template_kwargs": {"a": [["b"] * 40] * 30}}, "values"),
    "numbers": (EMBEDDINGS, {"input": [1] * 2002}, "values"),
    "fields": (CHAT, {**SHORT, **{f"x{index}": None for index in range(60)}}, "fields"),
    "biases": (CHAT, {**SHORT, "logit_bias": {str(index): 1 for index in range(51)}}, "logit_bias"),
    "stop texts": (CHAT, {**SHORT, "stop": ["a"] * 51}, "stop"),
    "metadata": (RESPONSES, {"input": "a", "metadata": {str(index): "a" for index in range(51)}}, "metadata"),
    "include": (RESPONSES, {"input": "a", "include": ["a"] * 51}, "include"),
    "a message": (CHAT, {"messages": said(LONG)}, "messages"),
    "tools": (CHAT, {**SHORT, "tools": [{"function": {"name": "f", "description": LONG}}]}, "messages"),
    "variables": (CHAT, {**SHORT, "chat_template_kwargs": {"a": LONG}}, "messages"),
    "input": (RESPONSES, {"input": LONG}, "input"),
    "an input to count": (RESPONSES + "/input_tokens", {"input": LONG}, "input"),
    "a message to count": (MESSAGES + "/count_tokens", {"model": "m", "messages": said(LONG)}, "messages"),
    "a prompt": (COMPLETIONS, {"prompt": ["a", LONG + "b"]}, "prompt"),
    "a prompt that is scored": (COMPLETIONS, {"prompt": LONG + "b", "echo": True, "logprobs": 1}, "prompt"),
    "a text to tokenize": ("/tokenize", {"content": LONG + "b"}, "content"),
    "choices": (CHAT, {**SHORT, "response_format": {"type": "choice", "choices": ["a"] * 11}}, "choices"),
    "characters of choices": (
        CHAT,
        {**SHORT, "response_format": {"type": "choice", "choices": ["a" * 101, "b" * 100]}},
        "response_format.choices",
    ),
    "choices of a text": (
        RESPONSES,
        {"input": "a", "text": {"format": {"type": "choice", "choices": ["a"] * 11}}},
        "text.format.choices",
    ),
    "a pattern": (CHAT, {**SHORT, "response_format": {"type": "regex", "pattern": "a" * 201}}, "pattern"),
    "a grammar": (CHAT, {**SHORT, "response_format": {"type": "lark", "grammar": "a" * 201}}, "grammar"),
    "a grammar of a text": (COMPLETIONS, {"prompt": "a", "guided_regex": "a" * 201}, "pattern"),
    "prompts": (COMPLETIONS, {"prompt": ["a"] * 5}, "n"),
    "answers": (COMPLETIONS, {"prompt": ["a"] * 2, "n": 3}, "n"),
    "texts": (EMBEDDINGS, {"input": ["a"] * 5}, "input"),
}


@pytest.mark.parametrize(("path", "body", "what"), BEYOND.values(), ids=BEYOND)
def test_one_more_is_400_and_says_of_what(strict: Served, path: str, body: dict[str, Any], what: str) -> None:
    refused = httpx.post(strict.url + path, json=body, timeout=20)
    assert refused.status_code == 400
    assert what in refused.json()["error"]["message"]


def test_as_many_as_allowed_are_answered(strict: Served) -> None:
    body = {
        **SHORT,
        "logit_bias": {str(index): 0 for index in range(50)},
        "response_format": {"type": "choice", "choices": [f"a{index}" for index in range(10)]},
    }
    assert chat(strict.url, body).status_code == 200
    assert httpx.post(f"{strict.url}/tokenize", json={"content": LONG}).json()["count"] > 0
    vectors = httpx.post(strict.url + EMBEDDINGS, json={"input": [[1] * 490] * 4}).json()["data"]
    assert len(vectors) == 4


def form(**fields: Any) -> dict[str, Any]:
    return {**SHORT, "response_format": fields}


FLOODS: dict[str, tuple[str, Any]] = {
    "biases": (CHAT, {**SHORT, "logit_bias": dict.fromkeys(map(str, range(300_000)), 1)}),
    "choices": (CHAT, form(type="choice", choices=[f"c{index}" for index in range(99_000)])),
    "tokens and a text": (EMBEDDINGS, {"input": [1] * 490_000 + ["a"]}),
    "a pattern": (CHAT, form(type="regex", pattern="a|" * 5_000_000)),
    "fields": (CHAT, {**SHORT, **{f"k{index}": 1 for index in range(99_000)}}),
    "wrong messages": (CHAT, {"messages": ["a"] * 9_000, "tools": ["a"] * 9_000}),
}


@pytest.mark.parametrize(("path", "body"), FLOODS.values(), ids=FLOODS)
def test_a_flood_is_refused_while_others_are_answered(served: Served, path: str, body: Any) -> None:
    over, healths, content = threading.Event(), [], json.dumps(body)

    def look() -> None:
        with httpx.Client() as other:
            while not over.wait(0.005):
                healths.append(other.get(f"{served.url}/health", timeout=20).status_code)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        refused = [httpx.post(served.url + path, content=content, timeout=60).status_code for _ in range(2)]
        assert chat(served.url).status_code == 200
    finally:
        over.set()
        looker.join()
    assert set(refused) == {400}
    assert set(healths) == {200}


def test_names_of_unknown_fields_do_not_fill_the_log(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    for start in range(0, 3000, 1000):
        body = {**SHORT, **{f"x{start + index}" + "y" * 500: 1 for index in range(1000)}}
        assert chat(served.url, body).status_code == 200
    assert len(caplog.text) < 150_000


HALF = "\ud800"
HALVES: dict[str, tuple[str, Any, str]] = {
    "content": (CHAT, {"messages": said(HALF)}, "messages[0].content"),
    "a name": (CHAT, {"messages": [{"role": "user", "content": "a", HALF: 1}]}, "messages[0]"),
    "a field": (CHAT, {"messages": [], HALF: 1}, ""),
    "a field that nobody reads": (CHAT, {"messages": [], "x": {"y": [HALF]}}, "x.y[0]"),
    "a second half": (CHAT, {"messages": [], "x": "\udfff"}, "x"),
    "halves in the wrong order": (CHAT, {"messages": [], "x": "\ude00\ud83d"}, "x"),
    "a pattern": (CHAT, {"response_format": {"type": "regex", "pattern": HALF}}, "response_format.pattern"),
    "a grammar": (CHAT, {"response_format": {"type": "lark", "grammar": HALF}}, "response_format.grammar"),
    "choices": (CHAT, {"response_format": {"choices": ["a", HALF]}}, "response_format.choices[1]"),
    "metadata": (RESPONSES, {"input": "a", "metadata": {"a": HALF}}, "metadata.a"),
    "user": (RESPONSES, {"input": "a", "user": HALF}, "user"),
    "a system text": (MESSAGES, {"model": "m", "system": HALF}, "system"),
    "a prompt": (COMPLETIONS, {"prompt": ["a", HALF]}, "prompt[1]"),
    "a text": (EMBEDDINGS, {"input": HALF}, "input"),
    "a text to tokenize": ("/tokenize", {"content": HALF}, "content"),
    "a list": (CHAT, [HALF], "[0]"),
}


@pytest.mark.parametrize(("path", "body", "place"), HALVES.values(), ids=HALVES)
def test_half_of_a_surrogate_pair_is_400_wherever_it_stands(served: Served, path: str, body: Any, place: str) -> None:
    refused = httpx.post(served.url + path, content=json.dumps(body), timeout=20)
    error = refused.json()["error"]
    assert refused.status_code == 400
    assert "half of a surrogate pair" in error["message"]
    assert error["message"].startswith(place)
    assert path == MESSAGES or error["param"] == (place or None)


def test_whole_pairs_and_other_oddities_are_text(served: Served) -> None:
    odd = "\U0001f600 \0 \uffff \\ud800"
    body = json.dumps({"messages": said(odd), "max_tokens": 2, "x": odd})
    assert "\\ud83d\\ude00" in body
    assert httpx.post(served.url + CHAT, content=body, timeout=20).status_code == 200
    assert httpx.post(f"{served.url}/tokenize", content='{"content": "\\ud83d\\ude00"}').json()["count"] > 0
