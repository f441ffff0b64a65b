"""Programs that speak Ollama's API, unchanged: LangChain's integration, and the plugin of Datasette's llm."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import llm
import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM
from server.questions import Verdict
from server.serving import Served

from glm_gguf.demo import tools as demo

QUESTION = "What is the weather in Paris?"
PARIS = demo.get_weather("Paris")


def get_weather(city: str) -> str:
    """Weather of a city"""
    return json.dumps(demo.get_weather(city))


# langchain-ollama


@pytest.fixture
def chat(served: Served) -> ChatOllama:
    return ChatOllama(base_url=served.url, model="tiny", temperature=0, num_predict=120, validate_model_on_init=True)


def test_langchain_answers_and_streams(chat: ChatOllama, served: Served) -> None:
    whole = chat.invoke("Hello")
    assert whole.content == served.glm.chat("Hello", temperature=0, max_tokens=120).content
    assert "".join(str(chunk.content) for chunk in chat.stream("Hello")) == whole.content
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] == whole.response_metadata["eval_count"]
    many = asyncio.run(chat.abatch(["Hello"] * 6))
    assert {message.content for message in many} == {whole.content}


def test_langchain_binds_tools(chat: ChatOllama) -> None:
    bound = chat.bind_tools([get_weather])
    answer = bound.invoke(QUESTION)
    assert [(call["name"], call["args"]) for call in answer.tool_calls] == [("get_weather", {"city": "Paris"})]
    history = [HumanMessage(QUESTION), answer, ToolMessage(json.dumps(PARIS), tool_call_id=answer.tool_calls[0]["id"])]
    assert str(PARIS["temperature"]) in str(bound.invoke(history).content)


def test_a_langchain_agent_runs_its_tools(chat: ChatOllama) -> None:
    agent = create_agent(chat, [tool(get_weather)])
    messages = agent.invoke({"messages": [{"role": "user", "content": QUESTION}]})["messages"]
    assert [type(message) for message in messages] == [HumanMessage, AIMessage, ToolMessage, AIMessage]
    assert str(PARIS["temperature"]) in messages[-1].content


def test_langchain_structures_its_output(chat: ChatOllama) -> None:
    assert isinstance(chat.with_structured_output(Verdict).invoke("Hello"), Verdict)


def test_langchain_reads_thoughts(z1: Served) -> None:
    chat = ChatOllama(base_url=z1.url, model="z1", temperature=0, reasoning=True, num_predict=120)
    assert chat.invoke("Hello").additional_kwargs["reasoning_content"] == "This needs no tool."


def test_langchain_embeds_and_completes(served: Served) -> None:
    embeddings = OllamaEmbeddings(base_url=served.url, model="tiny")
    assert embeddings.embed_query("Hello") == pytest.approx(served.glm.embed("Hello").tolist(), abs=1e-5)
    text = OllamaLLM(base_url=served.url, model="tiny", temperature=0, num_predict=8).invoke("Hello")
    assert text == served.glm.chat("Hello", temperature=0, max_tokens=8).content


# llm-ollama


@pytest.fixture
def model(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> llm.Model:
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    monkeypatch.setenv("OLLAMA_HOST", served.url)
    return llm.get_model("ollama/tiny:latest")


def test_llm_finds_prompts_and_converses(model: llm.Model, served: Served) -> None:
    wanted = served.glm.chat("Hello", temperature=0).content
    assert "".join(model.prompt("Hello", temperature=0)) == wanted
    assert model.prompt("Hello", temperature=0, stream=False).text() == wanted
    conversation = model.conversation()
    assert conversation.prompt("Hello", temperature=0).text() == wanted
    assert conversation.prompt("Hello", temperature=0).text()


def test_llm_chains_tools(model: llm.Model) -> None:
    chain = model.chain(QUESTION, tools=[llm.Tool.function(get_weather)], options={"temperature": 0})
    assert str(PARIS["temperature"]) in chain.text()


def test_llm_takes_schemas(model: llm.Model) -> None:
    answer = model.prompt("Hello", schema=Verdict, temperature=0, num_predict=100).text()
    assert Verdict.model_validate_json(answer)
