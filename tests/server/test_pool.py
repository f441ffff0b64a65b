"""Several models: requests choose, models are loaded on demand, and the least recently used is freed for another."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from server.conftest import OPTIONS
from server.questions import ENDLESS, HELLO, TOOLS
from server.serving import Served, connection, posted, serving
from waiting import PATIENCE, until

from glm_gguf import GLM, CacheType, EngineOptions
from glm_gguf.errors import RequestError
from glm_gguf.llama.footprint import Footprint
from glm_gguf.llama.room import Room
from glm_gguf.server.limits import Limits
from glm_gguf.server.pool.catalogue import ModelFiles
from glm_gguf.server.pool.model_pool import ModelPool
from glm_gguf.server.settings import ServerSettings

TYPES = ("F32", "Q8_0", "Q4_0")
QUESTIONS = ("Hello", "What is the weather in Paris?", "2 + 2 = ?")


def asked(question: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 12, "logprobs": True}


@pytest.fixture(scope="module")
def files(tiny_gguf: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three models, and one whose file is cut."""
    cut = tmp_path_factory.mktemp("cut") / "cut.gguf"
    cut.write_bytes(tiny_gguf("Q8_0").read_bytes()[:100_000])
    return {type_: tiny_gguf(type_) for type_ in TYPES} | {"cut": cut}


@pytest.fixture(scope="module")
def expected(files: Mapping[str, Path]) -> dict[tuple[str, str], str]:
    """What each model answers to each question, asked without a server: text and first log probability."""
    answers = {}
    for type_ in TYPES:
        with GLM(files[type_], options=OPTIONS) as glm:
            for question in QUESTIONS:
                result = glm.chat(question, sampling={"temperature": 0, "max_tokens": 12, "logprobs": 0})
                answers[type_, question] = f"{result.content} {result.logprobs[0].logprob:.4f}"
    return answers


def of_files(files: Mapping[str, Path], fits: Callable[[Path, Any], bool] = lambda path, beside: True) -> ModelFiles:
    return ModelFiles(lambda: files, lambda path, beside: GLM(path, options=OPTIONS), fits)


def ask(served: Served, model: str | None, question: str = "Hello", **fields: Any) -> httpx.Response:
    body = {**asked(question), "model": model, **fields}
    return httpx.post(f"{served.url}/v1/chat/completions", json=body, timeout=60)


def told(response: httpx.Response) -> str:
    choice = response.json()["choices"][0]
    return f"{choice['message']['content']} {choice['logprobs']['content'][0]['logprob']:.4f}"


def states(served: Served) -> dict[str, str]:
    found: dict[str, str] = httpx.get(f"{served.url}/health").json()["models"]
    return found


@pytest.fixture
def narrow(files: dict[str, Path]) -> Iterator[Served]:
    """A server of all files with room for one model."""
    with serving(ServerSettings("several", most_models=1), of_files(files), wait=False) as running:
        yield running


@pytest.mark.parametrize("room", [1, 2])
def test_requests_at_random_among_three_models_are_all_answered_by_the_right_one(
    files: dict[str, Path], expected: dict[tuple[str, str], str], room: int
) -> None:
    chosen = random.Random(room)
    questions = [(chosen.choice(TYPES), chosen.choice(QUESTIONS)) for _ in range(40)]
    with (
        serving(ServerSettings("several", most_models=room), of_files(files), wait=False) as running,
        ThreadPoolExecutor(8) as pool,
    ):
        answers = list(pool.map(lambda question: ask(running, *question), questions))
        assert [(answer.status_code, told(answer)) for answer in answers] == [
            (200, expected[question]) for question in questions
        ]
        assert [answer.json()["model"] for answer in answers] == [model for model, _ in questions]
        assert len(running.service.pool.loaded) == room


def test_an_unknown_model_is_refused_by_name_with_those_there_are(narrow: Served) -> None:
    answer = ask(narrow, "gpt-5")
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert error["message"] == "There is no model 'gpt-5'. There are: F32, Q8_0, Q4_0, cut."
    missing = ask(narrow, None)
    assert missing.status_code == 400
    assert missing.json()["error"]["param"] == "model"
    assert httpx.get(f"{narrow.url}/v1/models/gpt-5").status_code == 404
    assert narrow.service.pool.loaded == []


def test_a_model_that_cannot_load_is_an_error_for_its_requests_only(
    narrow: Served, expected: dict[tuple[str, str], str]
) -> None:
    assert ask(narrow, "Q8_0").status_code == 200
    for _ in range(2):
        failed = ask(narrow, "cut")
        assert (failed.status_code, failed.json()["error"]["code"]) == (503, "model_failed")
        assert failed.json()["error"]["message"].startswith("The model 'cut' could not be loaded: ")
        assert "/" not in failed.json()["error"]["message"]
    assert told(ask(narrow, "Q8_0")) == expected["Q8_0", "Hello"]
    assert states(narrow) == {"F32": "asleep", "Q8_0": "ready", "Q4_0": "asleep", "cut": "failed"}


APIS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": HELLO, "max_tokens": 2},
    "/v1/completions": {"prompt": "Hello", "max_tokens": 2},
    "/v1/responses": {"input": "Hello", "max_output_tokens": 2},
    "/v1/messages": {"messages": HELLO, "max_tokens": 2},
    "/v1/embeddings": {"input": "Hello"},
}


def test_each_api_answers_with_the_model_that_is_asked_and_says_so(narrow: Served) -> None:
    for model in TYPES:
        for path, body in APIS.items():
            answer = httpx.post(narrow.url + path, json={**body, "model": model}, timeout=30)
            assert (answer.status_code, answer.json().get("model")) == (200, model)
        assert [loaded.name for loaded in narrow.service.pool.loaded] == [model]
    for path, body in {"/tokenize": {"content": "Hello"}, "/v1/messages/count_tokens": {"messages": HELLO}}.items():
        assert httpx.post(narrow.url + path, json={**body, "model": "F32"}, timeout=30).status_code == 200


def test_the_least_recently_used_model_is_freed_first(files: dict[str, Path]) -> None:
    with serving(ServerSettings("several", most_models=2), of_files(files), wait=False) as running:
        for model in ("F32", "Q8_0", "F32", "Q4_0"):
            assert ask(running, model).status_code == 200
        assert {loaded.name for loaded in running.service.pool.loaded} == {"F32", "Q4_0"}


def test_a_model_goes_only_when_its_answers_are_over_and_nobody_overtakes_who_waits_for_another(
    narrow: Served, expected: dict[tuple[str, str], str]
) -> None:
    body = {**ENDLESS, "model": "F32", "stream": True, "max_tokens": 2000}
    with (
        httpx.stream("POST", f"{narrow.url}/v1/chat/completions", json=body, timeout=60) as running,
        ThreadPoolExecutor(4) as pool,
    ):
        lines = running.iter_lines()
        next(lines)
        other = pool.submit(ask, narrow, "Q8_0")
        until(lambda: states(narrow)["F32"] == "ready" and bool(narrow.service.pool.chosen("Q8_0").waiters))
        later = pool.submit(ask, narrow, "F32", QUESTIONS[1])
        until(lambda: bool(narrow.service.pool.chosen("F32").waiters))
        assert not other.done()
        for line in lines:
            if "[DONE]" in line:
                break
        assert told(other.result()) == expected["Q8_0", "Hello"]
        assert told(later.result()) == expected["F32", QUESTIONS[1]]
    loads = [model.loads for model in narrow.service.pool.models()]
    assert loads == [2, 1, 0, 0]


def test_who_leaves_the_line_leaves_no_model_behind(narrow: Served) -> None:
    body = {**ENDLESS, "model": "F32", "stream": True}
    with httpx.stream("POST", f"{narrow.url}/v1/chat/completions", json=body, timeout=60) as running:
        lines = running.iter_lines()
        next(lines)
        with connection(narrow, posted(json.dumps({**asked("Hello"), "model": "Q8_0"}).encode())):
            until(lambda: bool(narrow.service.pool.chosen("Q8_0").waiters))
        until(lambda: not narrow.service.pool.chosen("Q8_0").waiters)
        assert ask(narrow, "F32").status_code == 200  # it stays, and admits again
    assert narrow.service.pool.chosen("Q8_0").loads == 0


def test_a_line_has_an_end_in_number_and_time(files: dict[str, Path]) -> None:
    limits = Limits(preparing=2, loading_seconds=0.3)
    settings = ServerSettings("several", most_models=1, limits=limits)
    body = {**ENDLESS, "model": "F32", "stream": True}
    slow = replace(OPTIONS, draft=0)  # an answer that repeats itself would be drafted, and end too soon
    catalogue = ModelFiles(lambda: files, lambda path, _: GLM(path, options=slow), lambda path, _: True)
    with (
        serving(settings, catalogue, wait=False) as running,
        httpx.stream("POST", f"{running.url}/v1/chat/completions", json=body, timeout=60) as stream,
        ThreadPoolExecutor(4) as pool,
    ):
        lines = stream.iter_lines()  # kept: with it the answer would stop
        next(lines)
        answers = list(pool.map(lambda _: ask(running, "Q8_0"), range(4)))
    assert sorted(answer.status_code for answer in answers) == [408, 408, 429, 429]


def test_as_many_models_are_loaded_as_fit(files: dict[str, Path]) -> None:
    beside: list[tuple[Path, list[int]]] = []

    def fits(path: Path, others: list[Footprint]) -> bool:
        beside.append((path, [other.weights for other in others]))
        return len(others) < 2

    with serving(ServerSettings("several"), of_files(files, fits), wait=False) as running:
        for model in ("F32", "Q8_0", "Q4_0"):
            assert ask(running, model).status_code == 200
        assert len(running.service.pool.loaded) == 2
    assert beside[0] == (files["Q8_0"], [files["F32"].stat().st_size])


def test_health_and_metrics_and_the_list_name_the_state_of_each_model(files: dict[str, Path]) -> None:
    settings = ServerSettings("several", api_keys=("sesame",))
    key = {"Authorization": "Bearer sesame"}
    with serving(settings, of_files(files), wait=False) as running:
        asked = {"messages": HELLO, "model": "F32", "max_tokens": 1}
        assert httpx.post(f"{running.url}/v1/chat/completions", json=asked).status_code == 401
        assert running.service.pool.loaded == []
        assert httpx.post(f"{running.url}/v1/chat/completions", json=asked, headers=key).status_code == 200
        assert httpx.get(f"{running.url}/health").json() == {"status": "ready"}  # names are not for everybody
        assert httpx.get(f"{running.url}/health", headers=key).json()["models"]["F32"] == "ready"
        lines = httpx.get(f"{running.url}/metrics", headers=key).text.splitlines()
        listed = httpx.get(f"{running.url}/v1/models", headers=key).json()
    assert 'glm_gguf_state{model="F32",state="ready"} 1.0' in lines
    assert 'glm_gguf_state{model="Q8_0",state="asleep"} 1.0' in lines
    assert 'glm_gguf_loads_total{model="F32"} 1.0' in lines
    assert 'glm_gguf_n_cells{model="F32"} 4096.0' in lines
    assert [(model["id"], model["state"], model.get("context_length")) for model in listed["data"]] == [
        ("F32", "ready", 4096),
        ("Q8_0", "asleep", None),
        ("Q4_0", "asleep", None),
        ("cut", "asleep", None),
    ]


def test_tools_are_called_by_each_model_with_its_grammar(narrow: Served) -> None:
    for model in ("F32", "Q8_0"):
        choice = ask(narrow, model, tools=[TOOLS["get_weather"]], tool_choice="required", max_tokens=64).json()
        (call,) = choice["choices"][0]["message"]["tool_calls"]
        assert call["function"]["name"] == "get_weather"


def test_a_file_that_comes_is_served_and_one_that_goes_is_not(files: dict[str, Path]) -> None:
    present = {"Q8_0": files["Q8_0"]}
    with serving(ServerSettings("several"), of_files(present), wait=False) as running:
        assert ask(running, "Q4_0").status_code == 404
        present["Q4_0"] = files["Q4_0"]
        assert ask(running, "Q4_0").status_code == 200
        del present["Q4_0"]
        assert ask(running, "Q4_0").status_code == 404
        assert ask(running, "Q8_0").status_code == 200


def test_an_engine_that_failed_is_replaced_at_the_next_request(narrow: Served) -> None:
    def step() -> None:
        raise ZeroDivisionError("a bug of ours")

    assert ask(narrow, "Q8_0").status_code == 200
    narrow.glm._engine.call(lambda scheduler, _: setattr(scheduler, "step", step))
    until(lambda: states(narrow)["Q8_0"] == "failed")
    assert ask(narrow, "Q8_0").status_code == 200
    assert narrow.service.pool.chosen("Q8_0").loads == 2


SHORT_SLEEP = ServerSettings("tiny", sleep_after=0.05)


def test_an_idle_model_falls_asleep_and_the_next_request_wakes_it(
    files: dict[str, Path], expected: dict[tuple[str, str], str]
) -> None:
    with serving(SHORT_SLEEP, lambda: GLM(files["F32"], options=OPTIONS), wait=False) as running:
        for _ in range(3):
            until(lambda: httpx.get(f"{running.url}/health").json() == {"status": "asleep"})
            assert 'glm_gguf_state{state="asleep"} 1.0' in httpx.get(f"{running.url}/metrics").text
            assert told(ask(running, "any name")) == expected["F32", "Hello"]


def test_a_request_while_its_model_falls_asleep_is_answered(
    files: dict[str, Path], expected: dict[tuple[str, str], str]
) -> None:
    closing, go = threading.Event(), threading.Event()

    class Slow(GLM):
        """A model that closes when it is told to."""

        def close(self) -> None:
            closing.set()
            assert go.wait(20)
            super().close()

    with (
        serving(SHORT_SLEEP, lambda: Slow(files["F32"], options=OPTIONS), wait=False) as running,
        ThreadPoolExecutor(1) as pool,
    ):
        assert closing.wait(20)
        answer = pool.submit(ask, running, None)
        until(lambda: bool(running.service.pool.chosen(None).waiters))
        go.set()
        assert told(answer.result()) == expected["F32", "Hello"]


def test_a_model_sleeps_though_who_asked_for_it_left_at_the_moment_when_it_was_loaded(files: dict[str, Path]) -> None:
    opening, go = threading.Event(), threading.Event()

    def opened(path: Path, beside: Any) -> GLM:
        opening.set()
        assert go.wait(PATIENCE)
        return GLM(path, options=OPTIONS)

    async def left() -> None:
        pool = ModelPool(ModelFiles(lambda: files, opened, lambda path, beside: True), SHORT_SLEEP)
        with ExitStack() as held:
            asking = asyncio.create_task(pool.acquire("F32", held))
            assert await asyncio.to_thread(opening.wait, PATIENCE)
            go.set()
            pool._loader._thread.submit(lambda: None).result(PATIENCE)  # it is loaded, and the loop not told yet
            asyncio.get_running_loop().call_soon(asking.cancel)
            await asyncio.wait([asking])
        model = pool.chosen("F32")
        assert model.loads == 1
        await asyncio.to_thread(until, lambda: model.state_name == "asleep")
        await pool.stop()

    asyncio.run(left())


def test_no_model_sleeps_while_it_answers(files: dict[str, Path]) -> None:
    with serving(SHORT_SLEEP, lambda: GLM(files["F32"], options=OPTIONS)) as running:
        body = {**ENDLESS, "max_tokens": 1500, "stream": True}
        with httpx.stream("POST", f"{running.url}/v1/chat/completions", json=body, timeout=60) as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("data: {")
            loads = running.service.pool.chosen(None).loads  # it may have slept before the request came
            assert [line for line in lines if line][-1] == "data: [DONE]"
        assert running.service.pool.chosen(None).loads == loads


def test_room_counts_what_each_loaded_model_takes(files: dict[str, Path]) -> None:
    decided = replace(OPTIONS, n_batch=256)
    here = Room.here(decided)
    with GLM(files["Q8_0"], options=decided) as loaded:
        one = loaded.footprint
        assert here.fits(files["F32"], [one, one])
        for n_fitting in (1, 2):
            small = Room(decided, replace(here.machine, memory=one.main_memory * (n_fitting + 1) - 1))
            assert small.fits(files["Q8_0"], [one] * (n_fitting - 1))
            assert not small.fits(files["Q8_0"], [one] * n_fitting)


def test_a_context_that_is_left_open_is_what_the_others_leave(files: dict[str, Path]) -> None:
    here = Room.here(EngineOptions(n_gpu_layers=0))
    with GLM(files["Q8_0"], options=EngineOptions(n_gpu_layers=0)) as loaded:
        alone = loaded.footprint
    spare = (here.machine.memory or 0) - here.machine.for_others
    footprint = replace(alone, main_memory=spare - int(0.9 * alone.main_memory))
    assert here.options_for(files["Q8_0"], []).n_ctx is None
    decided = here.options_for(files["Q8_0"], [footprint])
    assert decided.n_ctx is not None
    assert decided.n_batch is not None
    assert (decided.n_batch, decided.n_ctx) < (2048, alone.n_cells) or decided.cache_type_k is CacheType.Q8_0


@pytest.mark.parametrize("field", ["sleep_after", "most_models"])
def test_a_setting_that_cannot_be_is_refused(field: str) -> None:
    with pytest.raises(RequestError, match="0"):
        ServerSettings("tiny", **{field: 0})
