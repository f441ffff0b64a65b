"""Misspelled fields: the nearest known name, and the names of others that none may be taken for."""

from __future__ import annotations

import importlib
import pkgutil
import time
from types import ModuleType
from typing import Any

import anthropic.types
import httpx
import openai.types
import pytest
from pydantic import BaseModel
from server.questions import HELLO, SHORT
from server.serving import Served, chat
from typing_extensions import is_typeddict

from glm_gguf.misspelled_names import edits, meant_name
from glm_gguf.server.anthropic_messages.request import CountRequest, MessageRequest
from glm_gguf.server.bodies.ignored_fields import IGNORED_HEADER, declared_fields
from glm_gguf.server.bodies.misplaced_fields import declared_objects, misplaced_field
from glm_gguf.server.chat_completions.request import ChatCompletionRequest
from glm_gguf.server.completions.request import CompletionRequest
from glm_gguf.server.embeddings.request import EmbeddingRequest
from glm_gguf.server.ollama.embed import OllamaEmbedRequest
from glm_gguf.server.ollama.request import OllamaChatRequest, OllamaGenerateRequest
from glm_gguf.server.responses.request import ResponseRequest

SCHEMAS: dict[str, type[BaseModel]] = {
    "/v1/chat/completions": ChatCompletionRequest,
    "/v1/completions": CompletionRequest,
    "/v1/embeddings": EmbeddingRequest,
    "/v1/responses": ResponseRequest,
    "/v1/messages": MessageRequest,
    "/v1/messages/count_tokens": CountRequest,
    "/api/chat": OllamaChatRequest,
    "/api/generate": OllamaGenerateRequest,
    "/api/embed": OllamaEmbedRequest,
}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
MISSPELLED: list[tuple[str, dict[str, Any], str, Any, str]] = [
    ("/v1/chat/completions", SHORT, "temprature", 0.5, "temperature"),
    ("/v1/chat/completions", SHORT, "tempertaure", 0.5, "temperature"),
    ("/v1/chat/completions", SHORT, "Temprature", 0.5, "temperature"),
    ("/v1/chat/completions", SHORT, "max_token", 5, "max_tokens"),
    ("/v1/chat/completions", SHORT, "max_tokenss", 5, "max_tokens"),
    ("/v1/chat/completions", SHORT, "maxTokenss", 5, "max_tokens"),
    ("/v1/chat/completions", SHORT, "stopp", ["a"], "stop"),
    ("/v1/chat/completions", SHORT, "sotp", ["a"], "stop"),
    ("/v1/chat/completions", SHORT, "tool", [TOOL], "tools"),
    ("/v1/chat/completions", SHORT, "streem", True, "stream"),
    ("/v1/chat/completions", SHORT, "tool_choise", "none", "tool_choice"),
    ("/v1/chat/completions", SHORT, "web_search_optoins", {}, "web_search_options"),
    ("/v1/chat/completions", {}, "messagess", HELLO, "messages"),
    ("/v1/completions", {"prompt": "a"}, "max_tokns", 5, "max_tokens"),
    ("/v1/embeddings", {"input": "a"}, "dimension", 5, "dimensions"),
    ("/v1/embeddings", {"input": "a"}, "temprature", 0.5, "temperature"),
    ("/v1/responses", {"input": "a"}, "max_output_token", 5, "max_output_tokens"),
    ("/v1/responses", {"input": "a"}, "max_token", 5, "max_tokens"),
    ("/v1/responses", {"input": "a"}, "instrutions", "Be brief.", "instructions"),
    ("/v1/responses", {"input": "a"}, "instruction", "Be brief.", "instructions"),
    ("/v1/responses", {}, "inputs", "a", "input"),
    ("/v1/responses", {"input": "a"}, "texts", {"format": {"type": "json_object"}}, "text"),
    ("/v1/embeddings", {}, "inputs", "a", "input"),
    ("/v1/messages", {"messages": HELLO, "max_tokens": 4}, "sistem", "Be brief.", "system"),
    ("/v1/messages/count_tokens", {"messages": HELLO}, "sytem", "Be brief.", "system"),
    ("/tokenize", {}, "contnet", "a", "content"),
    ("/detokenize", {}, "token", [1], "tokens"),
    ("/apply-template", {"messages": HELLO}, "tool", [TOOL], "tools"),
]


@pytest.mark.parametrize(
    ("path", "body", "name", "value", "meant"), MISSPELLED, ids=[f"{m[0]} {m[2]}" for m in MISSPELLED]
)
def test_a_misspelled_field_is_refused_with_the_right_name(
    served: Served, path: str, body: dict[str, Any], name: str, value: Any, meant: str
) -> None:
    refused = httpx.post(f"{served.url}{path}", json={"model": "tiny", **body, name: value})
    message = refused.json()["error"]["message"]
    assert refused.status_code == 400
    assert message.startswith(f"{name}: ")
    assert f"`{meant}`" in message


USAGE, SWITCH = {"include_usge": True}, {"enable_thinkin": False}
CALLS = [{**HELLO[0], "tool_call": [TOOL]}]
INSIDE: list[tuple[str, dict[str, Any], str, str]] = [
    ("/v1/chat/completions", {**SHORT, "stream_options": USAGE}, "stream_options.include_usge", "include_usage"),
    (
        "/v1/chat/completions",
        {**SHORT, "chat_template_kwargs": SWITCH},
        "chat_template_kwargs.enable_thinkin",
        "enable_thinking",
    ),
    ("/v1/chat/completions", {"messages": CALLS}, "messages[0].tool_call", "tool_calls"),
    ("/v1/responses", {"input": "a", "reasoning": {"efort": "low"}}, "reasoning.efort", "effort"),
]


@pytest.mark.parametrize(("path", "body", "place", "meant"), INSIDE, ids=[one[2] for one in INSIDE])
def test_so_is_a_misspelled_key_of_a_known_object(
    served: Served, path: str, body: dict[str, Any], place: str, meant: str
) -> None:
    error = httpx.post(f"{served.url}{path}", json=body).json()["error"]
    assert error["message"].startswith(f"{place}: ")
    assert f"`{meant}`" in error["message"]


def test_names_of_extensions_pass_and_are_named_in_the_header(served: Served) -> None:
    names = ["metadata2", "message_id", "n_messages", "n_tools", "step", "mode", "modes", "model_id", "top_n", "stop2"]
    names += ["min_output_tokens", "max_p", "slot", "thread_id", "trace", "tool_ids", "operation", "sample", "operator"]
    response = chat(served.url, {**SHORT, **dict.fromkeys(names, 1)})
    assert response.status_code == 200, response.text
    assert response.headers[IGNORED_HEADER] == ", ".join(names)


def test_an_empty_object_that_asks_for_a_search_is_refused_where_none_is_made(served: Served) -> None:
    refused = httpx.post(f"{served.url}/v1/responses", json={"input": "a", "web_search_options": {}})
    assert refused.status_code == 400
    assert "web_search_options: this API has no such field" in refused.json()["error"]["message"]


@pytest.mark.parametrize("nothing", [None, "", [], {}], ids=str)
def test_a_misspelled_field_without_a_value_passes(served: Served, nothing: Any) -> None:
    assert chat(served.url, {**SHORT, "temprature": nothing}).status_code == 200


def _request_types(package: ModuleType) -> dict[str, Any]:
    """Return every type of a client's request bodies, by its name."""
    found = {}
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not info.name.endswith("_params"):
            continue
        for name, kind in vars(importlib.import_module(info.name)).items():
            if is_typeddict(kind) and "Params" in name:
                found[f"{info.name}.{name}"] = kind
    return found


@pytest.mark.parametrize("path", SCHEMAS)
@pytest.mark.parametrize("package", [openai.types, anthropic.types], ids=["openai", "anthropic"])
def test_no_field_of_a_clients_requests_is_taken_for_a_misspelling(path: str, package: ModuleType) -> None:
    kinds = _request_types(package)
    names = {name for kind in kinds.values() for name in kind.__annotations__}
    assert len(kinds) > 15
    assert "model" in names
    declared, objects = declared_fields(SCHEMAS[path]), declared_objects(SCHEMAS[path])
    found = {name: misplaced_field({name: {"a": 1}}, declared, objects) for name in sorted(names)}
    assert {name: what for name, what in found.items() if what is not None} == {}


EDITS = [("", "abc", 3), ("abc", "abc", 0), ("abc", "acb", 1), ("abcd", "abd", 1), ("abc", "xbz", 2), ("ca", "abc", 3)]


@pytest.mark.parametrize(("one", "other", "count"), EDITS)
def test_edits_are_counted_both_ways(one: str, other: str, count: int) -> None:
    assert edits(one, other) == edits(other, one) == count


def test_the_nearest_of_several_names_is_meant() -> None:
    assert meant_name("max_tokenz", ["max_tokens", "max_token"]) == "max_token"
    assert meant_name("tol", ["tool", "tools"]) == "tool"
    assert meant_name("x" * 10_000, ["x" * 9_999]) is None


def test_very_many_unknown_fields_take_little_time() -> None:
    declared = declared_fields(ChatCompletionRequest)
    body = {f"temp_{'abcdefghij'[number % 10]}_{number}": 1 for number in range(100_000)}
    started = time.process_time()
    assert misplaced_field(body, declared) is None
    assert time.process_time() - started < 5  # 0.2 s on a quiet machine, a minute if every name were compared
