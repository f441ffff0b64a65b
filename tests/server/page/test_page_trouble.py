"""A server that refuses, breaks off or is gone: the page says so, keeps what came, and goes on."""

from __future__ import annotations

import pytest
from fastapi import Response
from playwright.sync_api import Page, expect
from server.page.actions import answers, begin_answer, close_settings, say, set_field, wait_for_answers
from server.page.conftest import Visit
from server.page.scripted_server import Wire, refusal


def test_what_was_stopped_before_it_began_can_still_be_answered(page: Page, wire: Wire) -> None:
    wire.answer()
    say(page, "Hello")
    page.get_by_role("button", name="Stop").click()
    wire.answer().say(content="Now.").finish()
    page.get_by_role("button", name="Have this answered").click()
    expect(wait_for_answers(page, 1).locator(".prose")).to_have_text("Now.")
    expect(page.get_by_role("button", name="Have this answered")).to_have_count(0)
    assert wire.request() == wire.request()


def test_results_that_were_refused_can_be_answered_behind_the_notice(visit: Visit, wire: Wire) -> None:
    visit.tolerated.append("429")
    page = visit.page()
    wire.answer().call(0, "f", "{}").finish("tool_calls")
    say(page, "Hello")
    wait_for_answers(page, 1).locator("form textarea").fill("42")
    wire.refuse(429, "Full.")
    page.get_by_role("button", name="Send result").click()
    page.get_by_role("button", name="Dismiss").click()
    wire.answer().say(content="It is 42.").finish()
    page.get_by_role("button", name="Have this answered").click()
    expect(wait_for_answers(page, 2).locator(".prose")).to_have_text("It is 42.")


def test_stopping_a_second_answer_before_it_began_shows_the_first_again(page: Page, wire: Wire) -> None:
    wire.answer().say(content="One").finish()
    say(page, "Hello")
    wait_for_answers(page, 1)
    wire.answer()
    page.get_by_role("button", name="Write this answer again").click()
    expect(answers(page)).to_have_count(0)
    page.get_by_role("button", name="Stop").click()
    expect(answers(page).locator(".prose")).to_have_text("One")


REFUSALS = [
    pytest.param(401, "No.", None, {}, "wants an API key", id="key"),
    pytest.param(429, "Full.", "rate_limit_exceeded", {"Retry-After": "3"}, "Try again in 3 s", id="busy"),
    pytest.param(400, "Too long.", "context_length_exceeded", {}, "no longer fits", id="overflow"),
    pytest.param(400, "messages: odd.", None, {}, "messages: odd.", id="refused"),
    pytest.param(403, "Not this host.", "host_not_allowed", {}, "Not this host.", id="host"),
    pytest.param(500, "Broken.", None, {}, "server failed", id="failed"),
    pytest.param(503, "The model could not be loaded.", "model_failed", {}, "could not be loaded", id="not ready"),
    pytest.param(503, "The server is ending.", "shutting_down", {}, "The server is not ready.", id="ending"),
]


@pytest.mark.parametrize(("status", "message", "code", "headers", "shown"), REFUSALS)
def test_a_refusal_is_said_in_plain_words(
    visit: Visit, wire: Wire, status: int, message: str, code: str | None, headers: dict[str, str], shown: str
) -> None:
    visit.tolerated.append(str(status))
    page = visit.page()
    wire.refuse(status, message, code, **headers)
    say(page, "Hello")
    expect(page.locator("#notice")).to_contain_text(shown)
    expect(page.locator("#stop")).to_be_hidden()


def test_what_was_refused_can_be_tried_again(visit: Visit, wire: Wire) -> None:
    visit.tolerated.append("429")
    page = visit.page()
    wire.refuse(429, "Full.")
    say(page, "Hello")
    wire.answer().say(content="Now.").finish()
    page.get_by_role("button", name="Try again").click()
    expect(wait_for_answers(page, 1).locator(".prose")).to_have_text("Now.")
    assert wire.request() == wire.request()


def test_a_key_that_was_not_accepted_is_mended_where_it_is_said_and_the_question_is_answered(
    visit: Visit, wire: Wire
) -> None:
    visit.tolerated.append("401")
    page = visit.page()
    set_field(page, "API key", "old")
    page.locator("#panel").get_by_label("API key").press("Tab")
    close_settings(page)
    notice = page.locator("#notice")
    for _ in range(2):
        wire.refuse(401, "No.", "invalid_api_key")
    say(page, "Hello")
    expect(notice).to_contain_text("This key was not accepted")
    notice.get_by_label("API key").fill("older")
    notice.get_by_role("button", name="Use key").click()
    expect(notice.get_by_label("API key")).to_have_value("")
    expect(notice).to_contain_text("This key was not accepted")
    wire.answer().say(content="Hi").finish()
    notice.get_by_label("API key").fill("new")
    notice.get_by_role("button", name="Use key").click()
    expect(wait_for_answers(page, 1).locator(".prose")).to_have_text("Hi")
    expect(notice).to_be_empty()
    assert wire.headers[-1]["authorization"] == "Bearer new"


def test_a_key_that_no_header_can_carry_was_not_accepted(page: Page) -> None:
    set_field(page, "API key", "ключ")
    page.locator("#panel").get_by_label("API key").press("Tab")
    expect(page.locator("#notice")).to_contain_text("This key was not accepted")


def test_an_answer_that_breaks_off_stays_as_far_as_it_came(visit: Visit, wire: Wire) -> None:
    visit.tolerated.append("ERR_INCOMPLETE_CHUNKED_ENCODING")
    page = visit.page()
    answer = begin_answer(page, wire, "A story", "Once upon")
    answer.break_off()
    message = wait_for_answers(page, 1)
    expect(message.locator(".prose")).to_have_text("Once upon")
    expect(page.locator("#notice")).to_contain_text("broke off")


def test_an_answer_that_broke_off_is_written_again_in_its_place(visit: Visit, wire: Wire) -> None:
    visit.tolerated.append("ERR_INCOMPLETE_CHUNKED_ENCODING")
    page = visit.page()
    answer = begin_answer(page, wire, "A story", "Once upon")
    answer.break_off()
    wait_for_answers(page, 1)
    wire.answer().say(content="Once again").finish()
    page.get_by_role("button", name="Try again").click()
    expect(answers(page).locator(".prose")).to_have_text("Once again")
    expect(answers(page).locator(".branches")).to_contain_text("2 / 2")
    assert wire.request()["messages"] == wire.request()["messages"] == [{"role": "user", "content": "A story"}]


def test_what_went_wrong_elsewhere_is_not_said_here(visit: Visit, wire: Wire) -> None:
    visit.tolerated.append("ERR_INCOMPLETE_CHUNKED_ENCODING")
    page = visit.page()
    answer = begin_answer(page, wire, "First", "Slow")
    page.get_by_role("button", name="New chat").click()
    wire.answer().say(content="Quick").finish()
    say(page, "Second")
    wait_for_answers(page, 1)
    answer.break_off()
    page.locator(".conversation .open", has_text="First").click()
    expect(answers(page).locator(".ended")).to_have_text("The answer broke off.")
    expect(page.locator("#notice")).to_be_empty()


def test_an_error_inside_the_stream_is_said(page: Page, wire: Wire) -> None:
    error = {"message": "It does not fit.", "type": "invalid_request_error", "code": "context_length_exceeded"}
    wire.answer().say(content="Once").send({"error": error})
    say(page, "A story")
    expect(page.locator("#notice")).to_contain_text("no longer fits")


def test_a_server_that_is_gone_is_missed(visit: Visit, wire: Wire) -> None:
    visit.tolerated.append("ERR_FAILED")
    page = visit.page()
    page.route("**/page-answers/*", lambda route: route.abort())
    say(page, "Hello")
    expect(page.locator("#notice")).to_contain_text("does not answer")
    expect(page.locator("#notice")).to_contain_text("glm-gguf serve")


def test_the_page_waits_while_the_model_is_loaded(own_visit: Visit, wire: Wire) -> None:
    own_visit.tolerated.append("503")
    own_visit.context.clock.install()
    wire.model_refusal = refusal(503, "The model is being loaded.", "model_loading")
    page = own_visit.page()
    page.clock.fast_forward(2000)
    expect(page.locator("#welcome")).to_contain_text("loading its model")
    wire.model_refusal = None
    page.clock.fast_forward(2000)
    expect(page.locator("#welcome")).to_contain_text("scripted")


MODELS = {
    "a key": (refusal(401, "No."), "wants an API key", "401"),
    "nobody's": (refusal(502, "No."), "The server failed", "502"),
    "no JSON": (Response("<html>"), "names no model", "nothing"),
    "null": (Response("null"), "names no model", "nothing"),
}


@pytest.mark.parametrize(("response", "shown", "tolerated"), MODELS.values(), ids=MODELS.keys())
def test_the_empty_page_says_why_it_names_no_model(
    visit: Visit, wire: Wire, response: Response, shown: str, tolerated: str
) -> None:
    visit.tolerated.append(tolerated)
    wire.model_refusal = response
    page = visit.page()
    expect(page.locator("#notice")).to_contain_text(shown)
    expect(page.locator("#welcome")).to_contain_text(shown)
