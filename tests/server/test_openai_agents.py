"""OpenAI's Agents SDK runs its tools over Responses and over chat completions, whole and streamed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from agents import (
    Agent,
    Model,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI
from server.serving import Served

from glm_gguf.chat.tools import result_text
from glm_gguf.demo.tools import FUNCTIONS

MODELS = {"responses": OpenAIResponsesModel, "chat completions": OpenAIChatCompletionsModel}


@pytest.fixture(autouse=True)
def _untraced() -> Iterator[None]:
    """Send no traces to OpenAI."""
    set_tracing_disabled(True)
    yield
    set_tracing_disabled(False)


@function_tool
def get_weather(city: str) -> str:
    """Weather of a city"""
    return result_text(FUNCTIONS["get_weather"](city))


def asked(served: Served, kind: type[Any], question: str, *, streamed: bool) -> Any:
    async def ask() -> Any:
        async with AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
            model: Model = kind(model="tiny", openai_client=client)
            settings = ModelSettings(temperature=0, max_tokens=120)
            agent = Agent(name="tiny", model=model, model_settings=settings, tools=[get_weather])
            if not streamed:
                return await Runner.run(agent, question, max_turns=4)
            result = Runner.run_streamed(agent, question, max_turns=4)
            async for _ in result.stream_events():
                pass
            return result

    return asyncio.run(ask())


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", MODELS.values(), ids=MODELS.keys())
def test_an_agent_runs_its_tools_to_the_end(served: Served, kind: type[Any], streamed: bool) -> None:
    result = asked(served, kind, "What is the weather in Paris?", streamed=streamed)
    assert [item.type for item in result.new_items] == [
        "tool_call_item",
        "tool_call_output_item",
        "message_output_item",
    ]
    assert str(FUNCTIONS["get_weather"]("Paris")["temperature"]) in result.final_output


@pytest.mark.parametrize("kind", MODELS.values(), ids=MODELS.keys())
def test_an_agent_answers_without_tools(served: Served, kind: type[Any]) -> None:
    result = asked(served, kind, "Hello", streamed=False)
    assert [item.type for item in result.new_items] == ["message_output_item"]
    assert result.final_output
