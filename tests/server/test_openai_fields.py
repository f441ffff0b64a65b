"""Every field of OpenAI's and Anthropic's requests: honoured, without effect, or refused by name."""

from __future__ import annotations

from typing import Any, Literal

import httpx
import pytest
from anthropic.types import message_create_params
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_create_params
from openai.types.responses import response_create_params
from pydantic import BaseModel
from server.questions import HELLO, SHORT
from server.serving import Served, chat

from glm_gguf.server.anthropic_messages.request import MessageRequest
from glm_gguf.server.bodies.known_fields import KNOWN_FIELDS
from glm_gguf.server.chat_completions.request import ChatCompletionRequest
from glm_gguf.server.completions.request import CompletionRequest
from glm_gguf.server.embeddings.request import EmbeddingRequest
from glm_gguf.server.responses.request import ResponseRequest

TYPES: dict[str, tuple[Any, type[BaseModel]]] = {
    "chat completions": (chat_create_params.CompletionCreateParamsBase, ChatCompletionRequest),
    "completions": (completion_create_params.CompletionCreateParamsBase, CompletionRequest),
    "embeddings": (embedding_create_params.EmbeddingCreateParams, EmbeddingRequest),
    "responses": (response_create_params.ResponseCreateParamsBase, ResponseRequest),
    "messages": (message_create_params.MessageCreateParamsBase, MessageRequest),
}


@pytest.mark.parametrize(("params", "schema"), TYPES.values(), ids=TYPES)
def test_every_field_of_the_clients_types_is_known(params: Any, schema: type[BaseModel]) -> None:
    assert [name for name in params.__annotations__ if name not in schema.model_fields | KNOWN_FIELDS] == []


Verdict = Literal["honoured", "passes", "refused"]
CHAT: list[tuple[str, Any, Verdict]] = [
    ("audio", {"voice": "alloy", "format": "wav"}, "refused"),
    ("modalities", ["text"], "passes"),
    ("modalities", ["text", "audio"], "refused"),
    ("function_call", "none", "passes"),
    ("functions", [], "passes"),
    ("frequency_penalty", 0.5, "honoured"),
    ("logit_bias", {"5": -100}, "honoured"),
    ("logit_bias", {}, "passes"),
    ("max_completion_tokens", 3, "honoured"),
    ("metadata", {"a": "b"}, "passes"),
    ("moderation", {"model": "omni"}, "refused"),
    ("n", 1, "passes"),
    ("parallel_tool_calls", True, "passes"),
    ("prediction", {"type": "content", "content": "Hello"}, "passes"),
    ("presence_penalty", -0.5, "honoured"),
    ("prompt_cache_key", "x", "passes"),
    ("prompt_cache_retention", "24h", "passes"),
    ("response_format", {"type": "text"}, "passes"),
    ("safety_identifier", "x", "passes"),
    ("seed", 5, "passes"),
    ("service_tier", "flex", "passes"),
    ("stop", ["\n\n"], "passes"),
    ("store", True, "passes"),
    ("stream_options", {"include_obfuscation": False}, "passes"),
    ("tool_choice", "none", "passes"),
    ("top_p", 0.5, "passes"),
    ("user", "me", "passes"),
    ("verbosity", "medium", "passes"),
    ("verbosity", "low", "passes"),
    ("web_search_options", {"search_context_size": "low"}, "refused"),
    ("tools", [{"type": "custom", "custom": {"name": "shell"}}], "refused"),
]


@pytest.mark.parametrize(("name", "value", "verdict"), CHAT, ids=[f"{name} {value}" for name, value, _ in CHAT])
def test_openais_own_fields_are_honoured_or_refused_by_name(
    served: Served, name: str, value: Any, verdict: Verdict
) -> None:
    response = chat(served.url, {**SHORT, name: value})
    if verdict == "refused":
        assert response.status_code == 400
        assert response.json()["error"]["param"].startswith(name)
        return
    assert response.status_code == 200, response.text
    if verdict == "passes":
        plain = chat(served.url, SHORT).json()
        assert response.json()["choices"] == plain["choices"]


OFF: list[tuple[str, Any]] = [
    ("max_tokens", 6.0),
    ("max_tokens", None),
    ("n_predict", 6),
    ("max_new_tokens", 6),
    ("num_predict", 6),
    ("max_output_tokens", 6),
    ("top_k", -1),
    ("top_k", 0),
    ("top_k", 40.0),
    ("n", 1.0),
    ("seed", -1),
    ("seed", 7.0),
    ("logit_bias", []),
    ("logit_bias", [[5, 0.0]]),
    ("repeat_penalty", 0),
    ("repeat_penalty", 1),
    ("repetition_penalty", 1.0),
    ("repeat_last_n", -1),
    ("stop", [None]),
    ("stop", ""),
    ("stop", []),
    ("stop_sequences", []),
    ("tool_choice", "auto"),
    ("tool_choice", {"type": "auto"}),
    ("tool_choice", {"type": "none"}),
    ("dry_multiplier", 0),
    ("min_p", 0),
    ("thinking_budget", -1),
    ("top_logprobs", 0),
    ("timeout", 60),
]


@pytest.mark.parametrize(("name", "value"), OFF, ids=[f"{name} {value}" for name, value in OFF])
def test_values_that_mean_off_change_nothing(served: Served, name: str, value: Any) -> None:
    plain, other = chat(served.url, SHORT), chat(served.url, {**SHORT, name: value, "max_completion_tokens": 6})
    assert other.status_code == 200, other.text
    assert other.json()["choices"] == plain.json()["choices"]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n_predict"])
def test_minus_one_is_no_limit(served: Served, name: str) -> None:
    body = {"messages": HELLO, "temperature": 0, name: -1}
    whole = chat(served.url, {"messages": HELLO, "temperature": 0})
    assert chat(served.url, body).json()["choices"] == whole.json()["choices"]


@pytest.mark.parametrize(
    "fields",
    [{"n_predict": 2}, {"max_new_tokens": 2}, {"num_predict": 2}, {"max_output_tokens": 2}, {"max_tokens": 2.0}],
    ids=str,
)
def test_every_name_for_a_length_holds(served: Served, fields: dict[str, Any]) -> None:
    answer = chat(served.url, {"messages": HELLO, "temperature": 0} | fields).json()
    assert answer["usage"]["completion_tokens"] == 2
    body = {"prompt": "Hello", "temperature": 0, "ignore_eos": True} | fields
    assert httpx.post(f"{served.url}/v1/completions", json=body).json()["usage"]["completion_tokens"] == 2


def test_a_pair_with_false_forbids_a_token(served: Served) -> None:
    plain = chat(served.url, SHORT).json()["choices"][0]["message"]["content"]
    first = served.glm.tokenize(plain)[0]
    other = chat(served.url, {**SHORT, "logit_bias": [[first, False]]}).json()["choices"][0]["message"]["content"]
    assert not other.startswith(served.glm.detokenize([first]))


def test_dry_is_heard(served: Served) -> None:
    body = {"messages": HELLO, "temperature": 0, "ignore_eos": True, "max_tokens": 60}
    dry = {"dry_multiplier": 5, "dry_allowed_length": 1, "dry_sequence_breakers": [], "dry_penalty_last_n": -1}
    plain, other = (chat(served.url, asked).json()["choices"] for asked in (body, body | dry))
    assert plain != other
    assert plain == chat(served.url, body | dry | {"dry_penalty_last_n": 0}).json()["choices"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": 5.5}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -2}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": 5, "n_predict": 6}, "n_predict"),
        ({"top_k": -2}, "top_k"),
        ({"n": 0}, "n"),
        ({"logit_bias": [[1]]}, "logit_bias"),
        ({"logit_bias": [["word", 1]]}, "logit_bias"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": {"type": "sometimes"}}, "tool_choice"),
        ({"dry_multiplier": 1, "dry_base": 0.5}, "dry_base"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_by_name(served: Served, fields: dict[str, Any], param: str) -> None:
    response = chat(served.url, {"messages": HELLO} | fields)
    assert response.status_code == 400
    assert str(response.json()["error"]["param"]).startswith(param)


@pytest.mark.parametrize(
    "choice",
    ["any", "required", {"type": "any"}, {"type": "required"}, {"type": "tool", "name": "get_weather"}],
    ids=str,
)
def test_a_call_is_required_in_everybodys_words(served: Served, choice: Any) -> None:
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}
    answer = chat(served.url, {"messages": HELLO, "temperature": 0, "tools": [tool], "tool_choice": choice}).json()
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
