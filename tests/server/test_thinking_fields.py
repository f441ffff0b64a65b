"""Thoughts are switched off, limited or hidden under every client's names; a field without effect is named."""

from __future__ import annotations

from typing import Any

import pytest
from server.questions import HELLO, SHORT
from server.serving import Served, chat

from glm_gguf.server.bodies.ignored_fields import IGNORED_HEADER
from glm_gguf.server.chat_completions.request import ChatCompletionRequest
from glm_gguf.variant import Variant

GREEDY: dict[str, Any] = {"messages": HELLO, "temperature": 0, "max_tokens": 60}
OFF: list[dict[str, Any]] = [
    {"chat_template_kwargs": {"enable_thinking": False}},
    {"chat_template_kwargs": {"thinking": False}},
    {"enable_thinking": False},
    {"thinking": {"type": "disabled"}},
    {"thinking": False},
    {"think": False},
    {"reasoning_effort": "none"},
    {"reasoning": {"effort": "none"}},
    {"reasoning": {"enabled": False}},
    {"reasoning": {"max_tokens": 0}},
    {"reasoning_budget": 0},
    {"thinking_budget": 0},
    {"thinking": {"type": "enabled", "budget_tokens": 0}},
    {"thinking_budget": 100, "enable_thinking": False},
]
LIMITED: list[tuple[dict[str, Any], int | None]] = [
    ({"thinking_budget": 3}, 3),
    ({"reasoning_budget": 3}, 3),
    ({"thinking_budget_tokens": 3}, 3),
    ({"thinking_token_budget": 3}, 3),
    ({"thinking": {"type": "enabled", "budget_tokens": 3}}, 3),
    ({"reasoning": {"max_tokens": 3}}, 3),
    ({"chat_template_kwargs": {"thinking_budget": 3}}, 3),
    ({"enable_thinking": True, "thinking_budget": 3}, 3),
    ({"reasoning_effort": "low"}, 2048),
    ({"reasoning_effort": "minimal"}, 512),
    ({"think": "medium"}, 8192),
    ({"reasoning": {"effort": "low", "max_tokens": 9}}, 9),
    ({"reasoning_effort": "high"}, None),
    ({"thinking_budget": -1}, None),
    ({"reasoning_budget": -1}, None),
    ({"enable_thinking": True}, None),
    ({"think": True}, None),
    ({"thinking": {"type": "adaptive"}}, None),
    ({"reasoning": {"enabled": True, "exclude": False}}, None),
    ({}, None),
]


@pytest.mark.parametrize("fields", OFF, ids=str)
def test_nothing_is_thought_where_thoughts_are_off(z1: Served, fields: dict[str, Any]) -> None:
    answer = chat(z1.url, GREEDY | fields).json()
    message = answer["choices"][0]["message"]
    assert "reasoning_content" not in message
    assert message["content"]
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 0


@pytest.mark.parametrize("fields", OFF, ids=str)
def test_off_is_nothing_to_speak_of_where_a_model_never_thinks(served: Served, fields: dict[str, Any]) -> None:
    response = chat(served.url, SHORT | fields)
    assert response.status_code == 200
    assert IGNORED_HEADER not in response.headers


@pytest.mark.parametrize(("fields", "tokens"), LIMITED, ids=str)
def test_every_name_sets_the_same_budget(fields: dict[str, Any], tokens: int | None) -> None:
    request = ChatCompletionRequest.model_validate(SHORT | fields)
    assert request.budget() == tokens
    assert request.to_request().sampling.thinking_budget == tokens
    assert bool(request.unmet(Variant.CHAT)) == bool(fields)
    assert request.unmet(Variant.Z1) == []


def test_a_thought_ends_with_its_budget(z1: Served) -> None:
    answers = [chat(z1.url, GREEDY | {"thinking_budget": tokens}).json() for tokens in (3, 1000)]
    counts = [answer["usage"]["completion_tokens_details"]["reasoning_tokens"] for answer in answers]
    assert counts[0] < counts[1]


@pytest.mark.parametrize(
    ("fields", "name"),
    [({"enable_thinking": True}, "enable_thinking"), ({"reasoning": {"effort": "high"}}, "reasoning.effort")],
    ids=str,
)
def test_a_model_that_never_thinks_says_so(served: Served, fields: dict[str, Any], name: str) -> None:
    assert chat(served.url, SHORT | fields).headers[IGNORED_HEADER] == name


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    "fields",
    [{"include_reasoning": False}, {"reasoning": {"exclude": True}}, {"reasoning_format": "hidden"}],
    ids=str,
)
def test_a_thought_may_be_had_and_not_sent(z1: Served, fields: dict[str, Any], stream: bool) -> None:
    shown = chat(z1.url, GREEDY | {"stream": stream}).text
    hidden = chat(z1.url, GREEDY | fields | {"stream": stream})
    assert "reasoning_content" in shown
    assert "reasoning_content" not in hidden.text
    assert hidden.status_code == 200
    if not stream:
        assert hidden.json()["usage"]["completion_tokens_details"]["reasoning_tokens"] > 0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"reasoning_effort": "ultra"}, "reasoning_effort"),
        ({"think": "yes"}, "think"),
        ({"reasoning": {"effort": "ultra"}}, "reasoning.effort"),
        ({"thinking": {"type": "sometimes"}}, "thinking.type"),
        ({"reasoning_format": "none"}, "reasoning_format"),
        ({"chat_template_kwargs": {"enable_thinking": [1]}}, "chat_template_kwargs.enable_thinking"),
        ({"thinking_budget": -2}, "thinking_budget"),
    ],
    ids=str,
)
def test_words_that_mean_nothing_are_refused(served: Served, fields: dict[str, Any], param: str) -> None:
    response = chat(served.url, SHORT | fields)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


def test_a_variable_that_the_template_does_not_read_is_named(served: Served) -> None:
    variables = {"date": "today", "enable_thinking": False, "nothing": None}
    response = chat(served.url, SHORT | {"chat_template_kwargs": variables})
    assert response.headers[IGNORED_HEADER] == "chat_template_kwargs.date"
