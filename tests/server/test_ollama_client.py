"""Ollama's Python client, every method of it, against this server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest
from gguf import GGUFReader, LlamaFileType
from server.questions import HELLO, TOOLS, TWO_CITIES, WEATHER, Verdict
from server.serving import Served

from glm_gguf.demo import tools as demo
from glm_gguf.gguf_file.file_types import FILE_TYPES

GREEDY: dict[str, Any] = {"temperature": 0, "num_predict": 120}
THOUGHT, ANSWER = "This needs no tool.", "Hello! How can I help you?"


@pytest.fixture
def client(served: Served) -> Iterator[ollama.Client]:
    with ollama.Client(served.url) as made:
        yield made


@pytest.fixture
def thinker(z1: Served) -> Iterator[ollama.Client]:
    with ollama.Client(z1.url) as made:
        yield made


# models


def test_models_are_listed_and_described_as_their_file_has_it(
    client: ollama.Client, served: Served, tiny_gguf: Callable[[str], Path]
) -> None:
    path = tiny_gguf("F32")
    file = GGUFReader(path)
    (listed,) = client.list().models
    (loaded,) = client.ps().models
    shown = client.show("tiny")
    assert listed.model == loaded.model == "tiny:latest"
    assert (listed.size, listed.modified_at) == (path.stat().st_size, shown.modified_at)
    assert listed.digest == loaded.digest
    assert listed.details == loaded.details == shown.details
    assert (shown.details.family, shown.details.quantization_level) == ("glm4", "F32")
    assert shown.modelinfo["general.parameter_count"] == sum(int(tensor.n_elements) for tensor in file.tensors)
    assert shown.modelinfo["glm4.context_length"] == file.get_field("glm4.context_length").contents()
    assert shown.template == file.get_field("tokenizer.chat_template").contents()
    assert shown.capabilities == ["completion", "tools"]
    assert f"num_ctx                        {served.glm.n_ctx}" in shown.parameters
    assert (loaded.context_length, loaded.size_vram) == (served.glm.n_ctx, 0)
    assert loaded.size == served.glm.footprint.weights + served.glm.footprint.cache
    assert loaded.expires_at.year > 2200


def test_every_file_type_has_its_name() -> None:
    names = {kind.value: kind.name.removeprefix("MOSTLY_").removeprefix("ALL_") for kind in LlamaFileType}
    assert {number: names[number] for number in FILE_TYPES} == FILE_TYPES
    assert set(names) - set(FILE_TYPES) == {LlamaFileType.GUESSED}


def test_a_model_that_thinks_says_so(thinker: ollama.Client) -> None:
    assert thinker.show("z1:latest").capabilities == ["completion", "tools", "thinking"]


# chat


def test_chat_answers_as_the_model_does(client: ollama.Client, served: Served) -> None:
    reply = client.chat("tiny", HELLO, options=GREEDY)
    assert reply.message.content == served.glm.chat("Hello", temperature=0, max_tokens=120).content
    assert (reply.model, reply.done, reply.done_reason) == ("tiny", True, "stop")
    parts = list(client.chat("tiny", HELLO, options=GREEDY, stream=True))
    assert "".join(part.message.content for part in parts) == reply.message.content
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert len(parts) > 3


def test_times_are_those_that_the_answer_took(client: ollama.Client) -> None:
    begun = time.perf_counter_ns()
    reply = client.chat("tiny", HELLO, options={**GREEDY, "num_predict": 60, "seed": 1})
    taken = time.perf_counter_ns() - begun
    assert reply.prompt_eval_duration > 0
    assert reply.eval_duration > 0
    assert reply.prompt_eval_duration + reply.eval_duration + reply.load_duration <= reply.total_duration <= taken
    assert reply.eval_count == 11  # the answer's tokens, and the one that ends it


def test_calls_come_with_their_arguments_as_an_object(client: ollama.Client) -> None:
    asked: dict[str, Any] = {"tools": [TOOLS["get_weather"]], "options": GREEDY}
    whole = client.chat("tiny", WEATHER, **asked)
    parts = list(client.chat("tiny", WEATHER, stream=True, **asked))
    for calls in (whole.message.tool_calls, [call for part in parts for call in part.message.tool_calls or ()]):
        assert [(call.function.name, call.function.arguments) for call in calls] == [("get_weather", {"city": "Paris"})]
    assert whole.done_reason == parts[-1].done_reason == "stop"


def test_results_are_matched_by_the_name_of_their_function(client: ollama.Client) -> None:
    paris = demo.get_weather("Paris")
    asked: dict[str, Any] = {"tools": [TOOLS["get_weather"]], "options": GREEDY}
    first = client.chat("tiny", WEATHER, **asked)
    result = {"role": "tool", "tool_name": "get_weather", "content": json.dumps(paris)}
    second = client.chat("tiny", [*WEATHER, first.message, result], **asked)
    assert str(paris["temperature"]) in second.message.content


def test_functions_become_tools(client: ollama.Client) -> None:
    def realtime_aqi(city: str) -> str:
        """Weather and air quality.

        Args:
            city: a name
        """
        return str(demo.realtime_aqi(city))

    reply = client.chat("tiny", TWO_CITIES, tools=[realtime_aqi], options=GREEDY)
    assert [call.function.arguments for call in reply.message.tool_calls] == [{"city": "北京"}, {"city": "上海"}]


def test_formats_are_enforced(client: ollama.Client) -> None:
    reply = client.chat("tiny", HELLO, format=Verdict.model_json_schema(), options=GREEDY)
    assert Verdict.model_validate_json(reply.message.content)
    assert isinstance(json.loads(client.chat("tiny", HELLO, format="json", options=GREEDY).message.content), dict)
    made = client.generate("tiny", "Hello", format=Verdict.model_json_schema(), options=GREEDY)
    assert Verdict.model_validate_json(made.response)


def test_thoughts_are_apart(thinker: ollama.Client) -> None:
    for think in (None, True, "high"):
        reply = thinker.chat("z1", HELLO, think=think, options=GREEDY)  # type: ignore[arg-type]
        assert (reply.message.thinking, reply.message.content) == (THOUGHT, ANSWER)
    parts = list(thinker.chat("z1", HELLO, stream=True, options=GREEDY))
    assert "".join(part.message.thinking or "" for part in parts) == THOUGHT
    assert "".join(part.message.content for part in parts) == ANSWER
    without = thinker.chat("z1", HELLO, think=False, options=GREEDY).message
    assert without.thinking is None
    assert without.content
    made = thinker.generate("z1", "Hello", options=GREEDY)
    assert (made.thinking, made.response) == (THOUGHT, ANSWER)


def test_log_probabilities_cover_the_text(client: ollama.Client) -> None:
    asked: dict[str, Any] = {"logprobs": True, "top_logprobs": 2, "options": GREEDY}
    reply = client.chat("tiny", HELLO, **asked)
    assert "".join(token.token for token in reply.logprobs or ()) == reply.message.content
    assert all(len(token.top_logprobs or ()) == 2 and token.logprob <= 0 for token in reply.logprobs or ())
    parts = client.generate("tiny", "Hello", stream=True, **asked)
    assert [token for part in parts for token in part.logprobs or ()] == list(reply.logprobs or ())


def test_a_last_message_of_the_assistant_is_continued(client: ollama.Client, served: Served) -> None:
    history = [*HELLO, {"role": "assistant", "content": "Hello! How"}]
    continued = served.glm.chat(history, temperature=0, continue_final_message=True).content
    assert client.chat("tiny", history, options=GREEDY).message.content == continued


def test_a_long_conversation_loses_its_oldest_turns_unless_forbidden(thinker: ollama.Client, z1: Served) -> None:
    turn = [{"role": "user", "content": "word " * 50}, {"role": "assistant", "content": "Yes."}]
    asked: dict[str, Any] = {"options": {"temperature": 0, "num_predict": 2}, "stream": False, "think": False}
    counts = [thinker.chat("z1", [*turn * times, *HELLO], **asked).prompt_eval_count for times in (1, 2, 20)]
    assert counts[0] < counts[1] < counts[2] < z1.glm.n_ctx
    with pytest.raises(ollama.ResponseError, match="do not fit"):
        thinker.chat("z1", [{"role": "user", "content": "word " * 1000}], **asked)
    body = {"messages": [*turn * 20, *HELLO], "truncate": False, **asked}
    assert "do not fit" in httpx.post(f"{z1.url}/api/chat", json=body).json()["error"]


# generate


def test_generate_answers_a_text_under_a_system_message(client: ollama.Client, served: Served) -> None:
    asked = [{"role": "system", "content": "Be brief."}, *HELLO]
    wanted = served.glm.chat(asked, temperature=0, max_tokens=120).content
    assert client.generate("tiny", "Hello", system="Be brief.", options=GREEDY).response == wanted
    parts = client.generate("tiny", "Hello", system="Be brief.", options=GREEDY, stream=True)
    assert "".join(part.response for part in parts) == wanted


def test_raw_text_is_continued_as_it_is(client: ollama.Client, served: Served) -> None:
    text = served.glm.apply_template(HELLO)
    wanted = served.glm.complete(text, temperature=0, max_tokens=8)
    assert client.generate("tiny", text, raw=True, options={"temperature": 0, "num_predict": 8}).response == wanted
    with pytest.raises(ollama.ResponseError, match=r"^system: "):
        client.generate("tiny", text, raw=True, system="Be brief.")


def test_a_request_without_a_question_finds_the_model_loaded(client: ollama.Client) -> None:
    assert client.generate("tiny").done_reason == client.chat("tiny").done_reason == "load"


@pytest.mark.parametrize("most", [0, -1, -2, 200])
def test_some_numbers_of_tokens_are_no_limit(client: ollama.Client, most: int) -> None:
    assert client.chat("tiny", HELLO, options={"temperature": 0, "num_predict": most}).done_reason == "stop"


def test_options_decide_the_answer(client: ollama.Client) -> None:
    def answer(**options: Any) -> ollama.ChatResponse:
        return client.chat("tiny", HELLO, options={"temperature": 5.0, "top_p": 1.0, "num_predict": 30, **options})

    assert answer(seed=7).message.content == answer(seed=7).message.content
    assert len({answer(seed=seed).message.content for seed in range(4)}) > 1
    assert len({answer(seed=seed, top_k=1).message.content for seed in range(4)}) == 1
    assert "e" not in str(answer(stop=["e"], temperature=0).message.content)
    assert answer(num_predict=3, temperature=0).eval_count == 3


# vectors


def test_vectors_are_those_of_the_model(client: ollama.Client, served: Served) -> None:
    first, second = client.embed("tiny", ["Hello", "你好"]).embeddings
    assert first == pytest.approx(served.glm.embed("Hello").tolist(), abs=1e-5)
    assert second == pytest.approx(served.glm.embed("你好").tolist(), abs=1e-5)
    assert client.embeddings("tiny", "Hello").embedding == pytest.approx(first, abs=1e-5)
    one = client.embed("tiny", "Hello")
    assert one.prompt_eval_count == len(served.glm.tokenize("Hello"))
    assert one.total_duration > 0
    assert client.embed("tiny", []).embeddings == []
    assert client.embeddings("tiny").embedding == []


def test_a_text_longer_than_the_context_is_cut_unless_forbidden(thinker: ollama.Client, z1: Served) -> None:
    text = "word " * 1000
    assert thinker.embed("z1", text).prompt_eval_count == z1.glm.n_ctx - 1
    with pytest.raises(ollama.ResponseError, match=r"^input: "):
        thinker.embed("z1", text, truncate=False)


# what is refused

Refusal = tuple[Callable[[ollama.Client], Any], int, str]
REFUSED: dict[str, Refusal] = {
    "pull another": (lambda client: client.pull("llama"), 400, "the server fetches no models"),
    "push": (lambda client: client.push("tiny"), 400, "the server publishes no models"),
    "create": (lambda client: client.create("new", from_="tiny", system="x"), 400, "the server makes no models"),
    "copy": (lambda client: client.copy("tiny", "other"), 400, "the server copies no models"),
    "delete": (lambda client: client.delete("tiny"), 400, "the server deletes no models"),
    "upload": (lambda client: client.create_blob(__file__), 400, "the server takes no files"),
    "score": (lambda client: client.systemone("tiny", "x", {}), 400, "the model answers no such questions"),
    "show another": (lambda client: client.show("llama"), 404, "There is no model 'llama'"),
    "an image": (lambda client: client.chat("tiny", [{**HELLO[0], "images": ["AAAA"]}]), 400, "messages[0].images: "),
    "images": (lambda client: client.generate("tiny", "x", images=["AAAA"]), 400, "images: "),
    "pixels": (lambda client: client.generate("tiny", "x", width=5), 400, "width: "),
    "suffix": (lambda client: client.generate("tiny", "x", suffix="y"), 400, "suffix: "),
    "template": (lambda client: client.generate("tiny", "x", template="{{ .Prompt }}"), 400, "template: "),
    "context": (lambda client: client.generate("tiny", "x", context=[1]), 400, "context: "),
    "a thought": (lambda client: client.chat("tiny", HELLO, think=True), 400, "think: "),
    "no duration": (lambda client: client.chat("tiny", HELLO, keep_alive="soon"), 400, "keep_alive: 'soon'"),
    "an option": (lambda client: client.chat("tiny", HELLO, options={"mirostat": 1}), 400, "options.mirostat: "),
    "a number": (lambda client: client.chat("tiny", HELLO, options={"top_p": 2}), 400, "options.top_p: "),
    "an unknown form": (lambda client: client.chat("tiny", HELLO, format={"type": "x"}), 400, "format"),
    "dimensions": (lambda client: client.embed("tiny", "x", dimensions=5), 400, "dimensions: "),
    "a role": (lambda client: client.chat("tiny", [{"role": "robot", "content": "x"}]), 400, "messages[0].role: "),
    "a stream": (lambda client: list(client.chat("tiny", HELLO, think=True, stream=True)), 400, "think: "),
}


@pytest.mark.parametrize(("ask", "status", "error"), REFUSED.values(), ids=REFUSED.keys())
def test_what_there_is_not_is_refused_with_advice(
    client: ollama.Client, ask: Callable[[ollama.Client], Any], status: int, error: str
) -> None:
    with pytest.raises(ollama.ResponseError) as caught:
        ask(client)
    assert caught.value.status_code == status
    assert caught.value.error.startswith(error)


def test_the_model_that_is_there_need_not_be_fetched(client: ollama.Client) -> None:
    assert client.pull("tiny").status == "success"
    assert [part.status for part in client.pull("tiny:latest", stream=True)] == ["success"]


# in an event loop


def test_the_client_of_event_loops_does_the_same(served: Served) -> None:
    async def asked() -> None:
        async with ollama.AsyncClient(served.url) as client:
            alone = (await client.chat("tiny", HELLO, options=GREEDY)).message.content
            many = await asyncio.gather(*(client.chat("tiny", HELLO, options=GREEDY) for _ in range(12)))
            assert {reply.message.content for reply in many} == {alone}
            streamed = [part async for part in await client.chat("tiny", HELLO, options=GREEDY, stream=True)]
            assert "".join(part.message.content for part in streamed) == alone
            made = [part async for part in await client.generate("tiny", "Hello", options=GREEDY, stream=True)]
            assert "".join(part.response for part in made) == alone
            assert len((await client.embed("tiny", ["a", "b"])).embeddings) == 2
            assert (await client.embeddings("tiny", "a")).embedding
            assert (await client.list()).models[0].model == (await client.ps()).models[0].model == "tiny:latest"
            assert (await client.show("tiny")).capabilities == ["completion", "tools"]
            assert (await client.pull("tiny")).status == "success"
            refused: list[Callable[[], Any]] = [
                lambda: client.delete("tiny"),
                lambda: client.copy("tiny", "other"),
                lambda: client.create("new", from_="tiny"),
                lambda: client.push("tiny"),
                lambda: client.create_blob(__file__),
                lambda: client.systemone("tiny", "x", {}),
            ]
            for ask in refused:
                with pytest.raises(ollama.ResponseError):
                    await ask()

    asyncio.run(asked())
