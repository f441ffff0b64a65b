"""Thoughts, calls and branches told by a scripted wire: what the page shows, and what it asks for."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect
from server.page.actions import (
    answers,
    begin_answer,
    close_settings,
    open_settings,
    said,
    say,
    set_field,
    wait_for_answers,
)
from server.page.conftest import Visit
from server.page.scripted_server import SECONDS, Wire


def test_a_thought_is_folded_with_its_time(page: Page, wire: Wire) -> None:
    answer = wire.answer().say(reasoning_content="Let me ").say(reasoning_content="*think*.")
    say(page, "Why?")
    expect(page.locator(".thought summary")).to_contain_text(re.compile(r"Thinking… \d"))
    answer.say(content="Because.").finish()
    message = wait_for_answers(page, 1)
    expect(message.locator(".thought summary")).to_have_text(re.compile(r"^Thought for \d+\.\d s$"))
    expect(message.locator(".thought em")).to_be_hidden()
    message.locator(".thought summary").click()
    expect(message.locator(".thought em")).to_have_text("think")
    expect(message.locator("> div > .prose")).to_have_text("Because.")


def test_a_thought_that_was_opened_stays_open(page: Page, wire: Wire) -> None:
    answer = wire.answer().say(reasoning_content="Let me think.")
    say(page, "Why?")
    page.locator(".thought summary").click()
    expect(page.locator(".thought .prose")).to_have_text("Let me think.")
    answer.say(content="Because.").finish()
    expect(wait_for_answers(page, 1).locator(".thought .prose")).to_be_visible()


def test_a_bar_shows_how_far_a_long_prompt_is_computed(page: Page, wire: Wire) -> None:
    def progress(processed: int) -> dict[str, object]:
        told = {"total": 200, "cache": 0, "processed": processed, "time_ms": 10}
        return {"choices": [{"index": 0, "delta": {}, "finish_reason": None}], "prompt_progress": told}

    answer = wire.answer().send(progress(50))
    say(page, "A long question")
    bar = page.get_by_role("progressbar", name="The model reads the prompt")
    expect(bar).to_have_js_property("value", 0.25)
    answer.send(progress(200))
    expect(bar).to_have_js_property("value", 1)
    answer.say(content="Here")
    expect(bar).to_be_hidden()
    answer.finish()
    wait_for_answers(page, 1)
    assert wire.request()["return_progress"] is True


def test_thoughts_are_not_sent_back(page: Page, wire: Wire) -> None:
    wire.answer().say(reasoning_content="Hm.").say(content="One.").finish()
    say(page, "First")
    wait_for_answers(page, 1)
    wire.request()
    wire.answer().say(content="Two.").finish()
    say(page, "Second")
    assert wire.request()["messages"] == [
        {"role": "user", "content": "First"},
        {"role": "assistant", "content": "One."},
        {"role": "user", "content": "Second"},
    ]


def test_several_calls_get_their_results_in_order(page: Page, wire: Wire) -> None:
    wire.answer().say(content="Let me look.").call(0, "get_weather", '{"city":"A"}').call(
        1, "get_weather", '{"city":"B"}'
    ).finish("tool_calls")
    say(page, "Weather?")
    message = wait_for_answers(page, 1)
    expect(message.locator(".call")).to_have_count(2)
    expect(message.locator(".call pre").first).to_have_text('{\n  "city": "A"\n}', use_inner_text=True)
    wire.request()
    for index, result in enumerate(("sunny", "rainy")):
        message.get_by_label("Result of get_weather").nth(index).fill(result)
    wire.answer().say(content="Mixed.").finish()
    page.get_by_role("button", name="Send results").click()
    wait_for_answers(page, 2)
    messages = wire.request()["messages"]
    assert [call["function"]["arguments"] for call in messages[1]["tool_calls"]] == ['{"city":"A"}', '{"city":"B"}']
    assert messages[2:] == [
        {"role": "tool", "tool_call_id": "call_0", "content": "sunny"},
        {"role": "tool", "tool_call_id": "call_1", "content": "rainy"},
    ]


def test_editing_one_result_keeps_those_behind_it(page: Page, wire: Wire) -> None:
    wire.answer().call(0, "f", "{}").call(1, "g", "{}").finish("tool_calls")
    say(page, "Both?")
    for name, result in (("f", "one"), ("g", "two")):
        wait_for_answers(page, 1).get_by_label(f"Result of {name}").fill(result)
    wire.answer().say(content="One and two.").finish()
    page.get_by_role("button", name="Send results").click()
    wait_for_answers(page, 2)
    page.get_by_role("button", name="Edit message").nth(1).click()
    page.get_by_role("textbox", name="Edit message").fill("three")
    wire.answer().say(content="Three and two.").finish()
    page.get_by_role("button", name="Send", exact=True).first.click()
    expect(answers(page).last.locator(".prose")).to_have_text("Three and two.")
    expect(page.locator(".result header code")).to_have_text(["f", "g"])
    results = [wire.request()["messages"] for _ in range(3)][2][2:]
    assert [(one["tool_call_id"], one["content"]) for one in results] == [("call_0", "three"), ("call_1", "two")]


READS = """async (count) => {
    const { Session } = await import("./page/chat/session.js");
    const { DEFAULTS } = await import("./page/chat/settings.js");
    const { Transcript } = await import("./page/view/transcript.js");
    let reads = 0;
    const messages = Array.from({ length: count }, (_, index) => ({
        id: `${index}`, role: "user", content: "x", created: 0,
        get parent() { reads++; return index ? `${index - 1}` : null; },
        get calls() { reads++; return []; },
    }));
    const session = new Session(null, null, { get: () => DEFAULTS }, null);
    new Transcript(session, () => {});
    session.adopt([{ id: "long", title: "Long", created: 0, changed: 0, settings: DEFAULTS, messages, leaf: "0" }]);
    session.open("long");
    session.show("0");
    return [reads / count, document.querySelectorAll(".message").length];
}"""


def test_a_long_conversation_is_looked_through_a_few_times_only(page: Page) -> None:
    reads, shown = page.evaluate(READS, 300)
    assert shown == 300
    assert reads < 20


def test_a_call_that_was_cut_is_none(page: Page, wire: Wire) -> None:
    wire.answer().call(0, "get_weather", '{"ci').finish("length")
    say(page, "Weather?")
    message = wait_for_answers(page, 1)
    expect(message.locator(".ended")).to_contain_text("cut")
    expect(message.locator(".call")).to_have_count(0)


def test_stopping_lets_the_server_go(page: Page, wire: Wire) -> None:
    answer = begin_answer(page, wire, "A story", "Once upon a time")
    page.get_by_role("button", name="Stop").click()
    message = wait_for_answers(page, 1)
    expect(message.locator(".prose")).to_have_text("Once upon a time")
    expect(message.locator(".ended")).to_have_text("Stopped.")
    assert answer.ended.get(timeout=SECONDS) == "left"
    expect(page.locator("#draft")).to_be_focused()


def test_retrying_keeps_both_answers(page: Page, wire: Wire) -> None:
    wire.answer().say(content="One").finish()
    say(page, "Hello")
    message = wait_for_answers(page, 1)
    expect(message.locator(".branches")).to_have_count(0)
    wire.answer().say(content="Two").finish()
    message.get_by_role("button", name="Write this answer again").click()
    expect(answers(page).locator(".prose")).to_have_text("Two")
    expect(answers(page).locator(".branches")).to_contain_text("2 / 2")
    page.get_by_role("button", name="Earlier version").click()
    expect(answers(page).locator(".prose")).to_have_text("One")
    expect(page.get_by_role("button", name="Earlier version")).to_be_disabled()
    expect(page.get_by_role("button", name="Later version")).to_be_focused()
    first, second = wire.request(), wire.request()
    assert first["messages"] == second["messages"] == [{"role": "user", "content": "Hello"}]


def test_editing_begins_a_branch_and_the_old_one_goes_on_to_its_end(page: Page, wire: Wire) -> None:
    for count, (text, answer) in enumerate((("Red", "A colour"), ("Blue", "Another")), 1):
        wire.answer().say(content=answer).finish()
        say(page, text)
        wire.request()
        wait_for_answers(page, count)
    page.get_by_role("button", name="Edit message").first.click()
    page.get_by_role("textbox", name="Edit message").fill("Green")
    wire.answer().say(content="A third").finish()
    page.get_by_role("button", name="Send", exact=True).first.click()
    wait_for_answers(page, 1)
    assert said(page) == ["Green"]
    assert wire.request()["messages"] == [{"role": "user", "content": "Green"}]
    page.get_by_role("button", name="Earlier version").click()
    expect(answers(page)).to_have_count(2)
    assert said(page) == ["Red", "Blue"]


def test_an_edit_can_be_left(page: Page, wire: Wire) -> None:
    wire.answer().say(content="One").finish()
    say(page, "Hello")
    wait_for_answers(page, 1)
    page.locator("#draft").press("ArrowUp")
    page.get_by_role("textbox", name="Edit message").press("Escape")
    expect(page.locator(".message.user .said")).to_have_text("Hello")
    expect(page.get_by_role("button", name="Edit message")).to_be_focused()


def test_settings_are_sent_and_open_ones_are_not(page: Page, wire: Wire) -> None:
    fields = {"System prompt": "Be brief.", "Temperature": "0,5", "Top p": "0.9", "Maximum tokens": "77"}
    for label, value in {**fields, "Seed": "7", "Thinking budget": "12"}.items():
        set_field(page, label, value)
    page.get_by_label("Format").select_option("json")
    page.get_by_role("button", name="Insert an example").click()
    close_settings(page)
    wire.answer().say(content="{}").finish()
    say(page, "Hello")
    request = wire.request()
    assert request["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (request["temperature"], request["top_p"], request["max_completion_tokens"]) == (0.5, 0.9, 77)
    assert (request["seed"], request["thinking_budget"]) == (7, 12)
    assert request["response_format"] == {"type": "json_object"}
    assert request["tools"][0]["function"]["name"] == "get_weather"
    assert request["stream_options"] == {"include_usage": True}


def test_what_is_left_open_is_not_sent(page: Page, wire: Wire) -> None:
    wire.answer().say(content="Hi").finish()
    say(page, "Hello")
    assert set(wire.request()) == {"model", "messages", "stream", "stream_options", "return_progress"}


@pytest.mark.parametrize(
    ("label", "value", "complaint"),
    [
        ("Temperature", "hot", "not a number"),
        ("Top p", "2", "0 to 1"),
        ("Maximum tokens", "1.5", "whole"),
        ("Declarations", "{", "not a JSON list"),
        ("Declarations", '[{"name": "f"}]', "Tool 1"),
    ],
)
def test_settings_that_cannot_be_sent_are_not(page: Page, label: str, value: str, complaint: str) -> None:
    set_field(page, label, value)
    expect(page.get_by_label(label)).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#panel .wrong")).to_contain_text(complaint)
    say(page, "Hello")
    expect(page.locator("#notice")).to_contain_text("settings cannot be sent")
    expect(page.locator("#draft")).to_have_value("Hello")


def test_an_example_replaces_no_tools(page: Page, wire: Wire) -> None:
    own = '[{"type": "function", "function": {"name": "mine"}}]'
    set_field(page, "Declarations", own)
    expect(page.get_by_role("button", name="Insert an example")).to_be_hidden()
    close_settings(page)
    page.locator(".suggestion", has_text="Call a tool").click()
    wire.answer().say(content="Hi").finish()
    page.get_by_role("button", name="Send", exact=True).click()
    assert [tool["function"]["name"] for tool in wire.request()["tools"]] == ["mine"]


def test_copying_works_where_the_clipboard_is_forbidden(own_visit: Visit, wire: Wire) -> None:
    page = own_visit.page()
    browser = own_visit.context.new_cdp_session(page)
    profile = browser.send("Target.getTargetInfo")["targetInfo"]["browserContextId"]
    denied = {"permission": {"name": "clipboard-write"}, "setting": "denied", "browserContextId": profile}
    browser.send("Browser.setPermission", denied)
    wire.answer().say(content="Copy me").finish()
    say(page, "Hello")
    message = wait_for_answers(page, 1)
    refused = "navigator.clipboard.writeText('x').then(() => false, () => true)"
    assert page.evaluate(refused), "else this test tests nothing"
    message.get_by_role("button", name="Copy answer").click()
    expect(message.get_by_role("button", name="Copied")).to_be_focused()
    page.locator("#draft").press("Control+v")
    expect(page.locator("#draft")).to_have_value("Copy me")


def test_the_key_goes_to_the_server_and_stays_in_the_browser(page: Page, wire: Wire) -> None:
    open_settings(page)
    page.get_by_label("API key").fill("sesame")
    page.get_by_label("API key").press("Tab")
    wire.answer().say(content="Hi").finish()
    say(page, "Hello")
    wait_for_answers(page, 1)
    assert wire.headers[-1]["authorization"] == "Bearer sesame"
    assert "cookie" not in wire.headers[-1]


def test_rate_and_context_are_shown(page: Page, wire: Wire) -> None:
    answer = wire.answer()
    say(page, "Hello")
    for word in ("One ", "two ", "three "):
        answer.say(content=word)
    expect(page.locator("[aria-busy] .prose")).to_have_text("One two three")
    answer.finish(prompt=700, completion=210)
    wait_for_answers(page, 1)
    expect(page.locator("#meter-text")).to_have_text("910 of 1,000 tokens")
    assert page.locator("#meter-bar").evaluate("meter => [meter.value, meter.max, meter.high]") == [910, 1000, 850]


def test_one_conversation_is_answered_while_another_is_open(page: Page, wire: Wire) -> None:
    answer = begin_answer(page, wire, "First", "Slow")
    page.get_by_role("button", name="New chat").click()
    wire.answer().say(content="Quick").finish()
    say(page, "Second")
    expect(wait_for_answers(page, 1).locator(".prose")).to_have_text("Quick")
    answer.say(content=" but sure").finish()
    page.locator(".conversation .open", has_text="First").click()
    expect(answers(page).locator(".prose")).to_have_text("Slow but sure")
