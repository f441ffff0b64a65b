"""Clients built on OpenAI's API: each works with this server as with OpenAI's."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Literal

import instructor
import litellm
import llm
import openai
import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings
from server.questions import TOOLS, WEATHER, GetWeather, Verdict
from server.serving import Served

from glm_gguf.demo import tools as demo

QUESTION = "What is the weather in Paris?"
PARIS = demo.get_weather("Paris")


def get_weather(city: str) -> str:
    """Weather of a city"""
    return json.dumps(demo.get_weather(city))


# langchain


@pytest.fixture
def chat_openai(served: Served) -> ChatOpenAI:
    return ChatOpenAI(
        base_url=f"{served.url}/v1", api_key="none", model="tiny", temperature=0, max_tokens=120, max_retries=0
    )


def test_langchain_binds_tools(chat_openai: ChatOpenAI) -> None:
    answer = chat_openai.bind_tools([get_weather]).invoke(QUESTION)
    assert [(call["name"], call["args"]) for call in answer.tool_calls] == [("get_weather", {"city": "Paris"})]
    assert answer.usage_metadata is not None
    history = [HumanMessage(QUESTION), answer, ToolMessage(json.dumps(PARIS), tool_call_id=answer.tool_calls[0]["id"])]
    assert str(PARIS["temperature"]) in str(chat_openai.bind_tools([get_weather]).invoke(history).content)


def test_langchain_streams(chat_openai: ChatOpenAI) -> None:
    whole = chat_openai.invoke("Hello").content
    assert "".join(str(chunk.content) for chunk in chat_openai.stream("Hello")) == whole
    chunks = list(chat_openai.bind_tools([get_weather]).stream(QUESTION))
    joined = chunks[0]
    for chunk in chunks[1:]:
        joined += chunk  # type: ignore[assignment]
    assert [call["args"] for call in joined.tool_calls] == [{"city": "Paris"}]


@pytest.mark.parametrize("method", ["function_calling", "json_schema", "json_mode"])
def test_langchain_structures_its_output(
    chat_openai: ChatOpenAI, method: Literal["function_calling", "json_schema", "json_mode"]
) -> None:
    if method == "json_mode":  # any object: the model is too small to know which
        structured = chat_openai.with_structured_output(None, method=method, include_raw=True)
        assert json.loads(str(structured.invoke("Hello")["raw"].content)) is not None  # type: ignore[index]
        return
    assert isinstance(chat_openai.with_structured_output(Verdict, method=method).invoke("Hello"), Verdict)


def test_a_langchain_agent_runs_its_tools(chat_openai: ChatOpenAI) -> None:
    agent = create_agent(chat_openai, [tool(get_weather)])
    messages = agent.invoke({"messages": [{"role": "user", "content": QUESTION}]})["messages"]
    assert [type(message) for message in messages] == [HumanMessage, AIMessage, ToolMessage, AIMessage]
    assert str(PARIS["temperature"]) in messages[-1].content


def test_langchain_embeds(served: Served) -> None:
    embeddings = OpenAIEmbeddings(
        base_url=f"{served.url}/v1", api_key="none", model="tiny", check_embedding_ctx_length=False
    )
    assert embeddings.embed_query("Hello") == pytest.approx(served.glm.embed("Hello").tolist(), abs=1e-5)


# litellm


@pytest.fixture
def lite(served: Served) -> dict[str, Any]:
    return {
        "model": "openai/tiny",
        "api_base": f"{served.url}/v1",
        "api_key": "none",
        "temperature": 0,
        "max_tokens": 120,
    }


@pytest.mark.filterwarnings("ignore:Item:UserWarning")  # of litellm's own types
def test_litellm_calls_tools_whole_and_streamed(lite: dict[str, Any]) -> None:
    asked = {**lite, "messages": WEATHER, "tools": [TOOLS["get_weather"]]}
    choice = litellm.completion(**asked).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert json.loads(choice.message.tool_calls[0].function.arguments) == {"city": "Paris"}
    built = litellm.stream_chunk_builder(list(litellm.completion(stream=True, **asked)))
    assert json.loads(built.choices[0].message.tool_calls[0].function.arguments) == {"city": "Paris"}


def test_litellm_knows_our_errors(lite: dict[str, Any]) -> None:
    with pytest.raises(litellm.ContextWindowExceededError):
        litellm.completion(messages=[{"role": "user", "content": "word " * 5000}], **lite)
    with pytest.raises(litellm.BadRequestError):
        litellm.completion(messages=[{"role": "robot", "content": "?"}], **lite)


def test_litellm_embeds_and_completes(lite: dict[str, Any], served: Served) -> None:
    target = {name: lite[name] for name in ("api_base", "api_key")}
    vector = litellm.embedding(model="openai/tiny", input=["Hello"], **target).data[0]["embedding"]
    assert vector == pytest.approx(served.glm.embed("Hello").tolist(), abs=1e-5)
    text = litellm.text_completion(
        model="text-completion-openai/tiny", prompt="abab", max_tokens=4, temperature=0, **target
    )
    assert text.choices[0].text


# instructor


@pytest.mark.parametrize("mode", [instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA], ids=str)
def test_instructor_makes_models(served: Served, mode: instructor.Mode) -> None:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none") as plain:
        client = instructor.from_openai(plain, mode=mode)
        made = client.chat.completions.create(
            model="tiny", messages=WEATHER, response_model=Verdict, temperature=0, max_tokens=200, max_retries=0
        )
        assert isinstance(made, Verdict)


def test_instructor_streams_partial_models(served: Served) -> None:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none") as plain:
        client = instructor.from_openai(plain)
        parts = list(
            client.chat.completions.create_partial(
                model="tiny", messages=WEATHER, response_model=GetWeather, temperature=0, max_tokens=200
            )
        )
    assert parts[-1].city


# pydantic-ai


@pytest.fixture
def pydantic_model(served: Served) -> OpenAIChatModel:
    return OpenAIChatModel("tiny", provider=OpenAIProvider(base_url=f"{served.url}/v1", api_key="none"))


SETTINGS = ModelSettings(temperature=0, max_tokens=200)


def test_a_pydantic_agent_runs_its_tools(pydantic_model: OpenAIChatModel) -> None:
    agent = Agent(pydantic_model, tools=[get_weather], model_settings=SETTINGS)
    result = agent.run_sync(QUESTION)
    assert str(PARIS["temperature"]) in result.output
    assert result.usage.requests == 2


@pytest.mark.parametrize("form", [ToolOutput, NativeOutput])
def test_a_pydantic_agent_gives_models(pydantic_model: OpenAIChatModel, form: Any) -> None:
    agent = Agent(pydantic_model, output_type=form(Verdict), model_settings=SETTINGS)
    assert isinstance(agent.run_sync("Hello").output, Verdict)


def test_a_pydantic_agent_streams(pydantic_model: OpenAIChatModel) -> None:
    agent = Agent(pydantic_model, model_settings=SETTINGS)

    async def pieces() -> list[str]:
        async with agent.run_stream("Hello") as stream:
            return [piece async for piece in stream.stream_text(delta=True)]

    assert "".join(asyncio.run(pieces())) == agent.run_sync("Hello").output


# simonw's llm


@pytest.fixture
def llm_model(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> llm.Model:
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    configured = {"model_id": "glm", "model_name": "tiny", "api_base": f"{served.url}/v1", "supports_tools": True}
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps([{**configured, "supports_schema": True}]))
    return llm.get_model("glm")


def test_llm_prompts_streams_and_converses(llm_model: llm.Model) -> None:
    streamed = "".join(llm_model.prompt("Hello", temperature=0))
    assert streamed == llm_model.prompt("Hello", temperature=0, stream=False).text()
    conversation = llm_model.conversation()
    assert conversation.prompt("Hello", temperature=0).text() == streamed
    assert conversation.prompt("Hello", temperature=0).text()


def test_llm_chains_tools(llm_model: llm.Model) -> None:
    chain = llm_model.chain(QUESTION, tools=[llm.Tool.function(get_weather)], options={"temperature": 0})
    assert str(PARIS["temperature"]) in chain.text()


def test_llm_takes_schemas(llm_model: llm.Model) -> None:
    answer = llm_model.prompt("Hello", schema=Verdict, temperature=0, max_tokens=100).text()
    assert Verdict.model_validate_json(answer)
