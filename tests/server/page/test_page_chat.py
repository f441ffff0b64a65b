"""The page against the real server and the bundled model: what a person does first."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict

import pytest
from playwright.sync_api import Page, expect
from server.page.actions import answers, close_settings, open_settings, reload, say, set_field, wait_for_answers
from server.page.conftest import Visit

from glm_gguf.demo.tools import get_weather
from glm_gguf.llama.sampling_params import SAMPLING_BOUNDS

LONG = {"type": "array", "items": {"enum": [0, 1]}, "minItems": 3000}
"""An answer by this schema does not end by itself."""


@pytest.fixture
def page(live: str, visit_in_tab: Callable[[str], Visit]) -> Page:
    return visit_in_tab(live).page()


def test_the_empty_page_names_the_model_and_what_can_be_tried(page: Page) -> None:
    expect(page.locator("#welcome")).to_contain_text("tiny")
    expect(page.locator("#welcome")).to_contain_text("4,096 tokens")
    assert page.locator(".suggestion").count() >= 3


NAMES = {"temperature": "temperature", "topP": "top_p", "maxTokens": "max_tokens", "thinkingBudget": "thinking_budget"}
BOUNDS = "async () => (await import('./page/wire/api.js')).fetchBounds('')"


def test_the_settings_have_the_bounds_of_the_model(page: Page) -> None:
    found = page.evaluate(BOUNDS)
    assert found.pop("seed") == {"minimum": -math.inf, "maximum": math.inf, "whole": True}
    assert found == {name: asdict(SAMPLING_BOUNDS[known]) for name, known in NAMES.items()}
    set_field(page, "Temperature", "100.5")
    expect(page.locator("#panel .wrong")).to_have_text("Give 0 to 100.")
    set_field(page, "Temperature", "100")
    expect(page.locator("#panel .wrong")).to_have_count(0)


def test_without_the_description_the_server_refuses_what_it_does_not_take(page: Page) -> None:
    page.route("**/openapi.json", lambda route: route.fulfill(body="<html>"))
    assert page.evaluate(BOUNDS) == {}


def test_a_message_is_answered_and_counted(page: Page) -> None:
    say(page, "Hello")
    answer = wait_for_answers(page, 1)
    assert answer.locator(".prose").inner_text().strip()
    expect(page.locator("#meter-text")).to_contain_text("of 4,096 tokens")
    expect(answer.locator(".facts")).to_contain_text("tokens")
    expect(page.locator("#title")).to_have_text("Hello")


def test_a_tool_is_called_and_its_result_typed_in(page: Page) -> None:
    page.locator(".suggestion", has_text="Call a tool").click()
    set_field(page, "Temperature", "0")
    close_settings(page)
    page.get_by_role("button", name="Send", exact=True).click()
    card = wait_for_answers(page, 1).locator(".call")
    expect(card.locator("header code")).to_have_text("get_weather")
    assert json.loads(card.locator("pre").inner_text()) == {"city": "Beijing"}
    result = get_weather("Beijing")
    page.get_by_label("Result of get_weather").fill(json.dumps(result))
    page.get_by_role("button", name="Send result").click()
    answer = wait_for_answers(page, 2)
    expect(answer.locator(".prose")).to_contain_text(result["weather"])


def test_an_answer_is_stopped_and_stays_as_far_as_it_came(page: Page) -> None:
    set_field(page, "Maximum tokens", "3000")
    page.locator("#panel").get_by_label("Format").select_option("schema")
    set_field(page, "JSON schema", json.dumps(LONG))
    say(page, "Hello")
    expect(page.locator("[aria-busy] .prose")).not_to_be_empty()
    page.keyboard.press("Escape")
    expect(answers(page).locator(".ended")).to_have_text("Stopped.")
    kept = answers(page).locator(".prose").inner_text()
    assert kept.strip()
    reload(page)
    page.locator(".conversation .open").click()
    expect(answers(page).locator(".prose")).to_have_text(kept, use_inner_text=True)


def test_conversations_are_there_again_after_a_reload(page: Page) -> None:
    say(page, "Hello")
    answer = wait_for_answers(page, 1).locator(".prose").inner_text()
    say(page, "And now?")
    wait_for_answers(page, 2)
    reload(page)
    page.locator(".conversation .open", has_text="Hello").click()
    expect(answers(page)).to_have_count(2)
    expect(answers(page).first.locator(".prose")).to_have_text(answer, use_inner_text=True)
    say(page, "Once more")
    wait_for_answers(page, 3)


def test_json_mode_gives_json(page: Page) -> None:
    page.locator("#toggle-panel").click()
    page.locator("#panel").get_by_label("Format").select_option("schema")
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}
    set_field(page, "JSON schema", json.dumps(schema))
    say(page, "Hello")
    answer = wait_for_answers(page, 1).locator(".prose").inner_text()
    assert json.loads(answer)["a"] in (1, 2)


def test_the_key_typed_in_opens_the_server(visit_in_tab: Callable[[str], Visit], locked: str) -> None:
    visit = visit_in_tab(locked)
    visit.tolerated.append("401")
    page = visit.page()
    notice = page.locator("#notice")
    expect(notice).to_contain_text("wants an API key")
    for key, next_text in {"sesam": "This key was not accepted", "sesame": ""}.items():
        notice.get_by_label("API key").fill(key)
        notice.get_by_label("API key").press("Enter")
        expect(notice).to_contain_text(next_text)
    expect(notice).to_be_empty()
    open_settings(page)
    expect(page.locator("#panel").get_by_label("API key")).to_have_value("sesame")
    say(page, "Hello")
    wait_for_answers(page, 1)
