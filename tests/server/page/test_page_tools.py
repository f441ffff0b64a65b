"""`serve --tools`: the page shows the server's functions and has their calls run; nobody else can."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import httpx
import pytest
from fastapi import Response
from fastapi.responses import JSONResponse
from playwright.sync_api import Page, expect
from server.page.actions import open_settings, say, set_field, wait_for_answers
from server.page.conftest import Visit
from server.page.scripted_server import Wire, refusal
from server.serving import Served, serving

from glm_gguf import GLM
from glm_gguf.chat.tools import Toolbox
from glm_gguf.server.settings import ServerSettings

CALL = {"name": "get_weather", "arguments": '{"city": "Paris"}'}


def get_weather(city: str) -> dict[str, object]:
    """Weather of a city."""
    return {"city": city, "weather": "rainy", "temperature": 11}


@pytest.fixture(scope="module")
def tooled(open_tiny: Callable[[], GLM]) -> Iterator[Served]:
    with serving(ServerSettings("tiny", tools=Toolbox.of([get_weather])), open_tiny) as running:
        yield running


@pytest.fixture(scope="module")
def locked_tools(open_tiny: Callable[[], GLM]) -> Iterator[Served]:
    settings = ServerSettings("tiny", api_keys=("sesame",), origins=("http://friend",), tools=Toolbox.of([get_weather]))
    with serving(settings, open_tiny) as running:
        yield running


def called(served: Served, body: object = CALL, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{served.url}/page-tools", json=body, headers=named, timeout=30)


def test_the_page_has_calls_run_and_answers_from_their_results(
    tooled: Served, visit_in_tab: Callable[[str], Visit]
) -> None:
    page = visit_in_tab(tooled.url).page()
    expect(page.locator("#model-name")).to_have_text("tiny")
    expect(page.locator("#active-settings")).to_have_text("Tools")
    open_settings(page)
    expect(page.locator(".server-tools")).to_have_text("The server runs: get_weather")
    set_field(page, "Temperature", "0")
    say(page, "What is the weather in Paris?")
    last = wait_for_answers(page, 2)
    expect(page.locator(".message.tool")).to_contain_text("rainy")
    expect(last.locator(".prose")).to_contain_text("rainy")


REFUSED = [
    pytest.param(refusal(401, "No.", "invalid_api_key"), "Use key", id="key"),
    pytest.param(refusal(503, "The server is ending.", "shutting_down"), "Try again", id="not ready"),
]


@pytest.mark.parametrize(("refused", "button"), REFUSED)
def test_a_call_that_was_refused_is_run_again_and_its_answer_is_not_written_again(
    visit: Visit, wire: Wire, refused: Response, button: str
) -> None:
    visit.tolerated.append(str(refused.status_code))
    wire.tools.append({"type": "function", "function": {"name": "get_weather"}})
    page = visit.page()
    expect(page.locator("#active-settings")).to_have_text("Tools")
    wire.results.put(refused)
    wire.answer().call(0, "get_weather", CALL["arguments"]).finish("tool_calls")
    say(page, "Weather?")
    notice = page.locator("#notice")
    expect(notice.get_by_role("button", name=button)).to_be_visible()
    if button == "Use key":
        notice.get_by_label("API key").fill("sesame")
    wire.results.put(JSONResponse({"content": "rainy"}))
    wire.answer().say(content="It rains.").finish()
    notice.get_by_role("button", name=button).click()
    expect(wait_for_answers(page, 2).locator(".prose")).to_have_text("It rains.")
    expect(page.locator(".branches")).to_have_count(0)
    assert wire.called == [CALL, CALL]
    assert [len(wire.request()["messages"]) for _ in range(2)] == [1, 3]
    assert (wire.headers[-1].get("authorization") == "Bearer sesame") == (button == "Use key")


def begin_call(visit: Visit, wire: Wire, *more: str) -> Page:
    """Have the server begin to run the calls of an answer."""
    wire.tools += [{"type": "function", "function": {"name": name}} for name in ("get_weather", *more)]
    page = visit.page()
    expect(page.locator("#active-settings")).to_have_text("Tools")
    answer = wire.answer()
    for index, name in enumerate(("get_weather", *more)):
        answer.call(index, name, CALL["arguments"])
    answer.finish("tool_calls")
    say(page, "Weather?")
    wait_for_answers(page, 1)
    return page


def test_nobody_enters_a_result_while_the_server_runs_the_function(visit: Visit, wire: Wire) -> None:
    page = begin_call(visit, wire)
    running = "The server is running get_weather…"
    expect(page.locator(".message.assistant")).to_contain_text(running)
    expect(page.locator("#announcer")).to_have_text(running)
    expect(page.get_by_role("button", name="Send result")).to_have_count(0)
    expect(page.get_by_label("Result of get_weather")).to_have_count(0)
    wire.answer().say(content="It rains.").finish()
    wire.results.put(JSONResponse({"content": "rainy"}))
    expect(wait_for_answers(page, 2).locator(".prose")).to_have_text("It rains.")
    expect(page.get_by_text(running)).to_have_count(0)
    assert wire.called == [CALL]


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(refusal(503, "The server is ending.", "shutting_down"), id="refused"),
        pytest.param(Response("{"), id="broken off"),
    ],
)
def test_a_result_is_entered_once_the_function_failed(visit: Visit, wire: Wire, failure: Response) -> None:
    visit.tolerated.append("503")
    page = begin_call(visit, wire)
    wire.results.put(failure)
    expect(page.locator("#notice").get_by_role("button", name="Try again")).to_be_visible()
    page.locator("#notice").get_by_role("button", name="Try again").click()
    expect(page.get_by_text("The server is running")).to_have_count(2)
    expect(page.get_by_label("Result of get_weather")).to_have_count(0)
    wire.results.put(failure)
    page.get_by_role("textbox", name="Result of get_weather").fill("snowy")
    wire.answer().say(content="It snows.").finish()
    page.get_by_role("button", name="Send result").click()
    expect(wait_for_answers(page, 2).locator(".prose")).to_have_text("It snows.")
    expect(page.locator("#notice")).to_be_empty()


def test_one_failed_call_waits_for_the_others(visit: Visit, wire: Wire) -> None:
    visit.tolerated.append("503")
    page = begin_call(visit, wire, "get_time")
    expect(page.locator(".message.assistant")).to_contain_text("The server is running get_weather, get_time…")
    with page.expect_response("**/page-tools") as refused:
        wire.results.put(refusal(503, "The server is ending.", "shutting_down"))
    refused.value.finished()
    page.evaluate("() => new Promise(requestAnimationFrame)")
    expect(page.get_by_role("button", name="Send results")).to_have_count(0)
    wire.results.put(JSONResponse({"content": "noon"}))
    expect(page.get_by_role("button", name="Send results")).to_be_visible()
    expect(page.locator("#notice").get_by_role("button", name="Try again")).to_be_visible()


def test_a_result_waits_until_its_conversation_is_open_again(visit: Visit, wire: Wire) -> None:
    page = begin_call(visit, wire)
    page.get_by_role("button", name="New chat").click()
    with page.expect_response("**/page-tools"):
        wire.results.put(JSONResponse({"content": "rainy"}))
    wire.answer().say(content="It rains.").finish()
    page.locator("#conversations").get_by_text("Weather?").click()
    expect(wait_for_answers(page, 2).locator(".prose")).to_have_text("It rains.")
    assert wire.called == [CALL]


@pytest.mark.parametrize(
    ("names", "hint", "text"),
    [
        (["get_weather", "add"], "The server runs get_weather, add", "What is the weather in Beijing?"),
        (list("abcdefg"), "The server runs a, b, c, d, e and 2 more", "Say what a does, and call it with an example."),
    ],
)
def test_the_start_page_names_the_servers_functions(
    visit: Visit, wire: Wire, names: list[str], hint: str, text: str
) -> None:
    wire.tools += [{"type": "function", "function": {"name": name}} for name in names]
    page = visit.page()
    suggestion = page.locator(".suggestion", has_text="Call a tool")
    expect(suggestion.locator("span")).to_have_text(hint)
    suggestion.click()
    expect(page.locator("#draft")).to_have_value(text)
    expect(page.get_by_label("Declarations")).to_have_value("")


def test_only_the_servers_own_page_may_have_a_function_run(tooled: Served) -> None:
    assert called(tooled, origin=tooled.url).json().keys() == {"content"}
    assert json.loads(called(tooled, origin=tooled.url).json()["content"])["weather"] == "rainy"
    for headers in ({}, {"origin": "http://evil.example"}, {"origin": "null"}):
        assert called(tooled, **headers).status_code == 403


def test_a_page_that_may_ask_otherwise_and_who_has_no_key_may_not(locked_tools: Served) -> None:
    key = "Bearer sesame"
    assert called(locked_tools, origin=locked_tools.url, authorization=key).status_code == 200
    assert called(locked_tools, origin=locked_tools.url).status_code == 401
    assert called(locked_tools, origin="http://friend", authorization=key).status_code == 403


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"name": "rm", "arguments": "{}"}, "there is no function"),
        ({"name": "get_weather", "arguments": "{"}, "not one JSON object"),
        ({"name": "get_weather", "arguments": '{"city": 5}'}, "city"),
    ],
)
def test_what_goes_wrong_is_told_to_the_model(tooled: Served, body: object, told: str) -> None:
    answer = called(tooled, body, origin=tooled.url)
    assert answer.status_code == 200
    assert told in json.loads(answer.json()["content"])["error"]


def test_without_the_flag_there_is_no_such_path(served: Served) -> None:
    assert called(served, origin=served.url).status_code == 404
    assert "page_tools" not in httpx.get(f"{served.url}/v1/models").json()["data"][0]


def test_api_clients_get_calls_and_run_them_themselves(tooled: Served) -> None:
    body = {"messages": [{"role": "user", "content": "What is the weather in Paris?"}], "temperature": 0}
    answer = httpx.post(f"{tooled.url}/v1/chat/completions", json=body, timeout=30).json()
    assert "tool_calls" not in answer["choices"][0]["message"]
    offered = httpx.get(f"{tooled.url}/v1/models").json()["data"][0]["page_tools"]
    assert [tool["function"]["name"] for tool in offered] == ["get_weather"]
