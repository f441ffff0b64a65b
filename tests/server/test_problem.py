"""Errors have the form of the requested API, with its names of the fields."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from server.questions import HELLO
from server.serving import serving

from glm_gguf import GLM
from glm_gguf.errors import (
    ContextLengthError,
    EngineError,
    GlmGgufError,
    QueueFullError,
    RequestError,
    TemplateError,
)
from glm_gguf.server.problem import Problem, error_response, problem_of
from glm_gguf.server.settings import ServerSettings

RENAMED = {
    ("/v1/responses", "max_tokens"): "max_output_tokens",
    ("/v1/responses", "response_format.json_schema.schema.a"): "text.format.schema.a",
    ("/v1/responses", "tools[3].function.parameters.a"): "tools[3].parameters.a",
    ("/v1/responses", "messages"): "input",
    ("/v1/responses", "text.format"): "text.format",
    ("/v1/messages", "response_format.json_schema.schema"): "output_config.format.schema",
    ("/v1/messages", "tools[3].function.parameters.a"): "tools[3].input_schema.a",
    ("/v1/messages", "thinking_budget"): "thinking.budget_tokens",
    ("/v1/messages", "stop"): "stop_sequences",
    ("/v1/messages", "stop_sequences[0]"): "stop_sequences[0]",
    ("/v1/chat/completions", "max_tokens"): "max_tokens",
    ("/api/chat", "max_tokens"): "options.num_predict",
    ("/api/chat", "response_format.json_schema.schema.a"): "format.schema.a",
    ("/api/generate", "stop[0]"): "options.stop[0]",
}


def told(problem: Problem, path: str) -> Any:
    return json.loads(error_response(problem, path).body)


@pytest.mark.parametrize(("place", "name"), RENAMED.items(), ids=[" ".join(place) for place in RENAMED])
def test_fields_have_the_names_of_the_api(place: tuple[str, str], name: str) -> None:
    path, param = place
    error = told(Problem(400, f"{param}: wrong.", param=param), path)["error"]
    if isinstance(error, str):
        assert error == f"{name}: wrong."
        return
    assert error["message"] == f"{name}: wrong."
    assert error.get("param", name) == name


STATUSES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
}


@pytest.mark.parametrize(("status", "kind"), STATUSES.items())
def test_anthropics_types_follow_the_status(status: int, kind: str) -> None:
    assert told(Problem(status, "No."), "/v1/messages/count_tokens") == {
        "type": "error",
        "error": {"type": kind, "message": "No."},
    }


@pytest.mark.parametrize("path", ["text-9b.gguf", "input/models/model.gguf", "messages.gguf", "n"])
@pytest.mark.parametrize("kind", [EngineError, RequestError, TemplateError, ContextLengthError], ids=str)
def test_a_path_is_not_told_to_clients_whatever_it_looks_like(kind: type[GlmGgufError], path: str) -> None:
    problem = problem_of(kind("it cannot be", path=Path(path), fix="do it"))
    assert (problem.message, problem.param) == ("it cannot be; do it.", None)


def test_a_field_is_told_and_stands_in_the_error_as_its_place() -> None:
    error = RequestError("wrong", field="messages[0].content")
    assert (str(error), error.field) == ("messages[0].content: wrong", "messages[0].content")
    problem = problem_of(error)
    assert (problem.message, problem.param) == ("messages[0].content: wrong.", "messages[0].content")


def test_a_long_value_is_quoted_in_part() -> None:
    problem = problem_of(
        RequestError(f"unknown choice '{'x' * 100_000}'", field="tool_choice", fix="give none or auto")
    )
    message = json.loads(error_response(problem, "/v1/chat/completions").body)["error"]["message"]
    assert len(message) < 3000
    assert message.startswith("tool_choice: unknown choice 'xxx")
    assert message.endswith("xxx'; give none or auto.")


def test_a_full_queue_says_when_to_ask_again() -> None:
    response = error_response(problem_of(QueueFullError("full")), "/v1/messages")
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")


def test_both_ways_to_bring_a_key(open_tiny: Callable[[], GLM]) -> None:
    body: Any = {"model": "tiny", "max_tokens": 1, "messages": HELLO}
    with serving(ServerSettings("tiny", api_keys=("sesame",)), open_tiny) as served:
        for way in ({"api_key": "sesame"}, {"auth_token": "sesame"}):
            with anthropic.Anthropic(base_url=served.url, max_retries=0, **way) as claude:
                assert claude.messages.create(**body).stop_reason == "max_tokens"
                assert [model.id for model in claude.models.list()] == ["tiny"]
        with (
            anthropic.Anthropic(base_url=served.url, api_key="other", max_retries=0) as claude,
            pytest.raises(anthropic.AuthenticationError, match="authentication_error"),
        ):
            claude.messages.create(**body)
        with (
            openai.OpenAI(base_url=f"{served.url}/v1", api_key="other", max_retries=0) as client,
            pytest.raises(openai.AuthenticationError),
        ):
            client.responses.create(model="tiny", input="Hello")
