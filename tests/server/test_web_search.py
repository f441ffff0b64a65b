"""`serve --research-sources`: OpenAI's web_search is answered by a research, its items in OpenAI's form."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response
from research.scripted_engine import ScriptedEngine, call, scripted, text
from server.serving import Served, serving
from waiting import PATIENCE, until

from glm_gguf import GLM
from glm_gguf.errors import EngineError
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.research.research_events import Source
from glm_gguf.research.research_options import ResearchOptions
from glm_gguf.research.research_sources import ResearchSources
from glm_gguf.server.limits import Limits
from glm_gguf.server.research.question import Question
from glm_gguf.server.research.researches import Researches
from glm_gguf.server.responses.web_search import url_citations
from glm_gguf.server.settings import ServerSettings

KINDS = ("web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11")
SEARCH, OPEN = call("search", '{"query": "who keeps the light"}'), call("open", '{"url": "light.md"}')
DEAD, FINISH = call("open", '{"url": "gone.md"}'), call("finish")
REPORT = text("Ansel keeps it, says light.md. See [the note](light.md).")
ANSWERS = [SEARCH, OPEN, DEAD, FINISH, REPORT]

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="session")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two notes."""
    folder = tmp_path_factory.mktemp("notes")
    (folder / "light.md").write_text("# The light\n\nAnsel keeps the light.")
    (folder / "oil.md").write_text("# The oil\n\nThe light burns the oil of seals.")
    return folder


@contextmanager
def researching(path: Path, notes: Path, answers: Any = ANSWERS, **limits: Any) -> Iterator[tuple[Any, ScriptedEngine]]:
    """A server whose model answers with a script, and a client of it."""
    settings = ServerSettings("tiny", research=ResearchSources(notes), limits=Limits(**limits))
    with (
        scripted(path, answers) as (glm, engine),
        serving(settings, lambda: glm) as served,
        openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0, timeout=60) as client,
    ):
        yield client, engine


def asked(client: Any, **fields: Any) -> Any:
    return client.responses.create(
        **{"model": "tiny", "input": "Who keeps the light?", "tools": [{"type": KINDS[0]}], **fields}
    )


def require_report(response: Response) -> None:
    """The look-ups and the report, as the script has them."""
    assert response.status == "completed"
    assert [item.type for item in response.output if item.type != "reasoning"] == [*["web_search_call"] * 3, "message"]
    search, page, dead = (item.to_dict() for item in response.output if item.type == "web_search_call")
    assert (search["status"], search["action"]["type"]) == ("completed", "search")
    assert search["action"]["query"] == "who keeps the light"
    assert {one["url"] for one in search["action"]["sources"]} == {"light.md", "oil.md"}
    assert (page["status"], page["action"]["type"], page["action"]["url"]) == ("completed", "open_page", "light.md")
    gone = {
        "type": "open_page",
        "url": "gone.md",
        "error": "gone.md: there is no such document; open the address of a hit",
    }
    assert (dead["status"], dead["action"]) == ("failed", gone)
    (message,) = (item for item in response.output if item.type == "message")
    (part,) = message.content
    cited = [part.text[one.start_index : one.end_index] for one in part.annotations]
    assert cited == ["light.md", "[the note](light.md)"]
    assert {(one.type, one.url, one.title) for one in part.annotations} == {("url_citation", "light.md", "The light")}
    assert response.usage is not None
    assert response.usage.output_tokens > response.usage.input_tokens_details.cached_tokens
    assert response.usage.input_tokens > 1000


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_web_search_is_answered_by_a_research(rumination: Path, notes: Path, kind: str) -> None:
    with researching(rumination, notes) as (client, _):
        response = asked(client, tools=[{"type": kind, "search_context_size": "low"}], tool_choice={"type": kind})
    require_report(response)
    assert response.tools[0].type == kind


def test_a_stream_tells_each_look_up_as_it_is_made_and_holds_the_whole_response(rumination: Path, notes: Path) -> None:
    with researching(rumination, notes) as (client, _):
        events = list(asked(client, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type.removeprefix("response.") for event in events]
    looked_up = [kind for kind in kinds if kind.startswith("web_search_call.")]
    begun, over = "web_search_call.in_progress", "web_search_call.completed"
    searching = "web_search_call.searching"
    assert looked_up == [begun, searching, over, begun, searching, over, begun, searching]
    assert kinds.count("output_text.annotation.added") == 2
    assert kinds[-1] == "completed"
    require_report(events[-1].response)
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert [item.to_dict() for item in done] == [item.to_dict() for item in events[-1].response.output]


def test_the_conversation_before_the_question_is_read(tiny_gguf: Callable[[str], Path], notes: Path) -> None:
    before = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day."}]
    asked_last = {"role": "user", "content": [{"type": "input_text", "text": "Who?"}]}
    answers = ['search\n{"query": "light"}<|observation|>', "Ansel.<|user|>"]
    with researching(tiny_gguf("Q8_0"), notes, answers) as (client, engine):
        response = asked(client, input=[*before, asked_last], instructions="Be short.")
    assert response.output_text == "Ansel."
    assert "Be short.<|user|>\nHello<|assistant|>\nGood day.<|user|>\nWho?" in engine.prompts[0]


def test_the_maximum_of_tokens_bounds_all_answers(rumination: Path, notes: Path) -> None:
    with researching(rumination, notes, [SEARCH, *[text("word " * 400)] * 9]) as (client, _):
        response = asked(client, max_output_tokens=100)
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert response.usage.output_tokens <= 100


FAILED: dict[str, tuple[str, dict[str, str] | None]] = {
    "a page again": (OPEN, {"type": "open_page", "url": "light.md"}),
    "a search again": (SEARCH, {"type": "search", "query": "who keeps the light"}),
    "no arguments": (call("open"), None),
    "no tool": (call("browse"), None),
}


@pytest.mark.parametrize("name", sorted(FAILED))
def test_a_failed_look_up_is_shown_as_what_it_is_and_another_call_as_a_thought(
    rumination: Path, notes: Path, name: str
) -> None:
    failing, action = FAILED[name]
    with researching(rumination, notes, [SEARCH, OPEN, failing, FINISH, REPORT]) as (client, _):
        response = asked(client)
    failed = [one for one in response.output if one.type == "web_search_call" and one.status == "failed"]
    told = [{name: text for name, text in one.action.to_dict().items() if name != "error"} for one in failed]
    assert told == ([] if action is None else [action])
    thoughts = "".join(part.text for one in response.output if one.type == "reasoning" for part in one.content)
    assert (failing.partition("</think>\n")[2].removesuffix("<|observation|>") in thoughts) == (action is None)


def test_a_whole_report_after_the_tokens_were_used_up_is_incomplete(rumination: Path, notes: Path) -> None:
    with researching(rumination, notes, [SEARCH, text("word " * 900), REPORT]) as (client, _):
        response = asked(client, max_output_tokens=600)
    assert response.output_text.endswith("See [the note](light.md).")
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")


@pytest.mark.parametrize("together", [False, True], ids=["one after another", "in one answer"])
def test_the_maximum_of_calls_bounds_the_look_ups(rumination: Path, notes: Path, together: bool) -> None:
    calls = [SEARCH, OPEN, call("open", '{"url": "oil.md"}')]
    if together:
        written = "\n".join(one.partition("</think>\n")[2].removesuffix("<|observation|>") for one in calls)
        calls = [text(written).replace("<|user|>", "<|observation|>")]
    else:
        calls = calls[:2]
    with researching(rumination, notes, [*calls, REPORT]) as (client, _):
        response = asked(client, max_tool_calls=2)
    assert [one.action.type for one in response.output if one.type == "web_search_call"] == ["search", "open_page"]
    assert (response.status, response.to_dict()["max_tool_calls"]) == ("completed", 2)


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "a filter": ({"tools": [{"type": KINDS[0], "filters": {"allowed_domains": ["a.b"]}}]}, "tools[0].filters", "heed"),
    "a size": (
        {"tools": [{"type": KINDS[0], "search_context_size": "huge"}]},
        "tools[0].search_context_size",
        "medium",
    ),
    "a format": ({"text": {"format": {"type": "json_object"}}}, "text.format", "no format"),
    "a result of a call": (
        {
            "input": [
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "1"},
                {"role": "user", "content": "Who?"},
            ]
        },
        "input[0]",
        "messages only",
    ),
    "log probabilities": ({"top_logprobs": 2}, "top_logprobs", "no log probabilities"),
    "an empty question": ({"input": " "}, "input", "the question is empty"),
    "no calls": ({"max_tool_calls": 0}, "max_tool_calls", "greater than or equal to 1"),
    "no question": ({"input": [{"role": "assistant", "content": "Yes."}]}, "input[0].role", "not the user's"),
}


@pytest.fixture(scope="module")
def ready(rumination: Path, notes: Path) -> Iterator[Any]:
    """A client of a server that researches nothing in these tests."""
    with researching(rumination, notes, []) as (client, _):
        yield client


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_no_research_heeds_is_refused_by_name(ready: Any, name: str) -> None:
    fields, param, told = REFUSED[name]
    with pytest.raises(openai.BadRequestError, match=told) as refused:
        asked(ready, **fields)
    assert refused.value.param == param


def test_without_sources_the_tool_is_refused_by_name(served: Served) -> None:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0, timeout=60) as client:
        with pytest.raises(openai.BadRequestError, match="--research-sources") as refused:
            asked(client)
        assert refused.value.param == "tools"
        assert asked(client, tool_choice="none", max_output_tokens=8).output[0].type == "message"


def test_beside_functions_the_tool_is_left_out_and_named(served: Served) -> None:
    body = {
        "input": "Hello",
        "tools": [{"type": "web_search"}, {"type": "function", "name": "f"}],
        "max_output_tokens": 8,
    }
    answer = httpx.post(f"{served.url}/v1/responses", json=body, timeout=60)
    assert answer.headers["x-ignored-fields"] == "tools%3Aweb_search"


FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
CHOSEN = [{"type": "web_search"}, {"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]}]


@pytest.mark.parametrize("choice", CHOSEN, ids=["by its type", "as the only one allowed"])
def test_a_search_that_is_chosen_beside_functions_is_made(rumination: Path, notes: Path, choice: Any) -> None:
    with researching(rumination, notes) as (client, _):
        require_report(asked(client, tools=[{"type": KINDS[0]}, FUNCTION], tool_choice=choice))


def test_a_client_that_leaves_stops_the_research(open_tiny: Callable[[], GLM], notes: Path) -> None:
    settings = ServerSettings("tiny", research=ResearchSources(notes))
    body = {"input": "Who?", "tools": [{"type": KINDS[0]}], "temperature": 2, "top_p": 1, "stream": True}
    with serving(settings, open_tiny) as served:
        with httpx.stream("POST", f"{served.url}/v1/responses", json=body, timeout=60) as answer:
            assert next(answer.iter_lines()) == "event: response.created"
        until(lambda: not served.service.active and not served.glm.status.running)
        assert researches(served) == {"abandoned": 1}


def test_a_research_that_an_error_ends_is_counted(rumination: Path, notes: Path) -> None:
    settings = ServerSettings("tiny", research=ResearchSources(notes))
    with (
        scripted(rumination, [SEARCH, EngineError("llama.cpp refused")]) as (glm, engine),
        serving(settings, lambda: glm) as served,
    ):
        body = {"input": "Who?", "tools": [{"type": KINDS[0]}]}
        assert httpx.post(f"{served.url}/v1/responses", json=body, timeout=60).status_code == 500
        assert researches(served) == {"failed": 1}
        assert tokens(served)["answer"] == len(glm._model.vocabulary.parsed_ids(SEARCH))  # of the answer that ended
        assert tokens(served)["prompt"] == len(engine.requests[0].prompt)


def test_what_a_research_used_is_counted_though_its_client_leaves(rumination: Path, notes: Path) -> None:
    left, answers = threading.Event(), iter([SEARCH])

    def script(prompt: str) -> str | EngineError:
        answer = next(answers, None)
        if answer is None:
            assert left.wait(PATIENCE)
        return answer or EngineError("llama.cpp refused")

    body = {"input": "Who?", "tools": [{"type": KINDS[0]}], "stream": True}
    with (
        scripted(rumination, script) as (glm, engine),
        serving(ServerSettings("tiny", research=ResearchSources(notes)), lambda: glm) as served,
    ):
        with httpx.stream("POST", f"{served.url}/v1/responses", json=body, timeout=60) as answer:
            lines = answer.iter_lines()  # httpx would close the connection of one that nobody holds
            assert any("web_search_call" in line for line in lines)
            until(lambda: len(engine.requests) == 2)
        until(lambda: all(stop.is_set() for stop in served.service.researches._stops))
        left.set()
        until(lambda: not served.service.researches.running)
        assert researches(served) == {"abandoned": 1}
        assert tokens(served)["answer"] == len(glm._model.vocabulary.parsed_ids(SEARCH))
        assert tokens(served)["prompt"] == len(engine.requests[0].prompt)


def tokens(served: Served) -> dict[str, float]:
    """How many were counted, by kind."""
    lines = httpx.get(f"{served.url}/metrics", timeout=60).text
    found = re.findall(r'^glm_gguf_tokens_total\{kind="(\w+)"\} (\S+)', lines, re.MULTILINE)
    return {name: float(count) for name, count in found}


def researches(served: Served) -> dict[str, float]:
    """How many there were, by what ended them."""
    lines = httpx.get(f"{served.url}/metrics", timeout=60).text
    found = re.findall(r'^glm_gguf_researches_total\{ended_by="(\w+)"\} (\S+)', lines, re.MULTILINE)
    return {name: float(count) for name, count in found}


def test_a_research_whose_events_nobody_reads_is_stopped(open_tiny: Callable[[], GLM], notes: Path) -> None:
    """A client may leave between the beginning and the first event."""
    question = Question("Who?", (), ResearchOptions(), SamplingParams(temperature=2, top_p=1))

    async def begun_and_dropped(glm: GLM) -> None:
        async def never() -> dict[str, str]:
            return await asyncio.Future()

        researches = Researches(ResearchSources(notes), Limits(researches=1))
        request: Any = SimpleNamespace(receive=never)
        begun = partial(question.researched, glm)
        async with asyncio.timeout(60):
            for _ in range(3):  # each has the one place
                await researches.begin(request, begun, "tools")
                while researches.running:
                    await asyncio.sleep(0)
        assert researches.close(60)

    with open_tiny() as glm:
        asyncio.run(begun_and_dropped(glm))


def test_more_than_the_limit_are_refused(open_tiny: Callable[[], GLM], notes: Path) -> None:
    settings = ServerSettings("tiny", research=ResearchSources(notes), limits=Limits(researches=1))
    body = {"input": "Who?", "tools": [{"type": KINDS[0]}], "temperature": 2, "top_p": 1, "stream": True}
    with (
        serving(settings, open_tiny) as served,
        httpx.stream("POST", f"{served.url}/v1/responses", json=body, timeout=60) as answer,
    ):
        assert next(answer.iter_lines()) == "event: response.created"
        refused = httpx.post(f"{served.url}/v1/responses", json=body, timeout=60)
        assert refused.status_code == 429
        assert "1 questions are researched already" in refused.text


TEXTS = {
    "a link": ("See [it](a.md).", ["[it](a.md)"]),
    "a longer address": ("a.md and a.md.bak and ba.md", ["a.md"]),
    "an address at an end": ("From https://x.test/a.", ["https://x.test/a"]),
    "an address below it": ("From https://x.test/a/b", []),
    "none": ("Nothing.", []),
}


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_citations_are_where_the_text_names_an_address(name: str) -> None:
    words, cited = TEXTS[name]
    sources = [Source(1, "A", "a.md"), Source(2, "X", "https://x.test/a")]
    assert [words[one["start_index"] : one["end_index"]] for one in url_citations(words, sources)] == cited
