"""Adapters and functions of a server that has several models: they hold for each model, and a misfit for one alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from llama.test_lora import factors, write_adapter
from server.questions import TOOLS
from server.serving import Served, serving

from glm_gguf import GLM
from glm_gguf.chat.tools import Toolbox
from glm_gguf.cli.model_options import SharedOptions
from glm_gguf.cli.served_models import catalogue_of
from glm_gguf.llama.engine_options import EngineOptions, LoraAdapter
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.server.settings import ServerSettings
from tests.gguf_file.builder import glm4

TYPES = ("F32", "Q8_0")
PLAIN = EngineOptions(n_ctx=2048, threads=1, n_gpu_layers=0, draft=0)
WEATHER = {"role": "user", "content": "What is the weather in Paris?"}


def get_weather(city: str) -> dict[str, object]:
    """Weather of a city."""
    return {"city": city, "weather": "rainy", "temperature": 11}


@pytest.fixture(scope="module")
def options(tiny_gguf: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> EngineOptions:
    """With an adapter that fits the tiny model."""
    path = tmp_path_factory.mktemp("adapter") / "style.gguf"
    adapter = LoraAdapter(write_adapter(path, factors(tiny_gguf("F32"), 0)), 8.0)
    return EngineOptions(n_ctx=2048, threads=1, n_gpu_layers=0, draft=0, lora=(adapter,))


@pytest.fixture(scope="module")
def several(
    options: EngineOptions, tiny_gguf: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Two models that the adapter fits, and one of other widths; and a function for the page."""
    narrow = glm4().write(tmp_path_factory.mktemp("narrow") / "narrow.gguf")
    files = {type_: tiny_gguf(type_) for type_ in TYPES} | {"narrow": narrow}
    settings = ServerSettings("several", tools=Toolbox.of([get_weather]))
    catalogue = catalogue_of(SharedOptions(options, SamplingParams()), lambda: files)
    with serving(settings, catalogue, wait=False) as running:
        yield running


def ask(served: Served, model: str, messages: list[Any] | None = None, **fields: Any) -> httpx.Response:
    body = {"model": model, "messages": messages or [WEATHER], "temperature": 0, "max_tokens": 24, **fields}
    return httpx.post(f"{served.url}/v1/chat/completions", json=body, timeout=60)


def message(response: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = response.json()["choices"][0]["message"]
    return found


def test_an_adapter_is_applied_to_each_model_and_a_request_turns_it_off(
    several: Served, options: EngineOptions, tiny_gguf: Callable[[str], Path]
) -> None:
    for type_ in TYPES:
        alone = []
        for each in (options, PLAIN):
            with GLM(tiny_gguf(type_), options=each) as glm:
                tokens = glm.chat("Hello", temperature=0, max_tokens=12, logprobs=0).logprobs
                alone.append([token.logprob for token in tokens])
        assert alone[0] != pytest.approx(alone[1], abs=0.1)
        hello = [{"role": "user", "content": "Hello"}]
        for scales, expected in zip((None, {"style": 0.0}), alone, strict=True):
            answer = ask(several, type_, hello, logprobs=True, max_tokens=12, lora=scales)
            tokens = answer.json()["choices"][0]["logprobs"]["content"]
            assert [token["logprob"] for token in tokens] == pytest.approx(expected[: len(tokens)], abs=0.02)
            assert len(tokens) > 3
        refused = ask(several, type_, lora={"manner": 1.0})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "lora")


def test_a_model_that_an_adapter_does_not_fit_is_an_error_for_its_requests_only(several: Served) -> None:
    refused = ask(several, "narrow")
    assert refused.status_code == 503
    assert "'narrow' could not be loaded: llama.cpp could not load the adapter" in refused.json()["error"]["message"]
    assert ask(several, "Q8_0").status_code == 200


def test_the_functions_of_the_server_answer_the_calls_of_each_model(several: Served) -> None:
    for type_ in TYPES:
        fields = {"tools": [TOOLS["get_weather"]], "lora": {"style": 0.0}, "max_tokens": 64}
        called = message(ask(several, type_, tool_choice="required", **fields))
        (call,) = called["tool_calls"]
        result = httpx.post(
            f"{several.url}/page-tools", json=call["function"], headers={"Origin": several.url}, timeout=30
        ).json()
        told = {"role": "tool", "tool_call_id": call["id"], "content": result["content"]}
        answer = ask(several, type_, [WEATHER, called, told], **fields)
        assert "rainy" in message(answer)["content"]
        assert answer.json()["model"] == type_
