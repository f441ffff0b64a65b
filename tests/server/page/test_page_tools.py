"""`serve --tools`: the page shows the server's functions and has their calls run; nobody else can."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import httpx
import pytest
from fastapi import Response
from fastapi.responses import JSONResponse
from playwright.sync_api import expect
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
