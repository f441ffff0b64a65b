"""Every kept conversation has an address: a reload, Back, Forward and a bookmark come to it again."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from server.page.actions import answers, begin_answer, close_settings, reload, said, say, set_field, talk
from server.page.conftest import Visit
from server.page.scripted_server import Wire


@pytest.fixture
def page(new_tab: Visit) -> Page:
    return new_tab.page()


def entries(page: Page) -> int:
    """How many entries the browser's history has."""
    return int(page.evaluate("history.length"))


def test_a_reload_stays_where_one_was(page: Page, wire: Wire) -> None:
    talk(page, wire, "About apples", "They are red.")
    talk(page, wire, "About pears", "They are green.")
    page.locator(".conversation .open", has_text="apples").click()
    reload(page)
    expect(answers(page).locator(".prose")).to_have_text("They are red.")
    expect(page.locator("#title")).to_have_text("About apples")
    page.get_by_role("button", name="New chat").click()
    reload(page)
    expect(page.locator("#title")).to_have_text("New chat")


def test_back_and_forward_go_through_conversations(page: Page, wire: Wire) -> None:
    talk(page, wire, "About apples", "They are red.")
    talk(page, wire, "About pears", "They are green.")
    page.go_back()
    expect(page.locator("#title")).to_have_text("About apples")
    page.go_forward()
    expect(page.locator("#title")).to_have_text("About pears")
    page.locator(".conversation .open", has_text="apples").click()
    page.go_back()
    expect(answers(page).locator(".prose")).to_have_text("They are green.")
    assert said(page) == ["About pears"]


def test_a_message_more_is_no_step_to_go_back(page: Page, wire: Wire) -> None:
    before = entries(page)
    talk(page, wire, "About apples", "They are red.")
    wire.answer().say(content="They ripen.").finish()
    say(page, "And in autumn?")
    expect(answers(page)).to_have_count(2)
    assert entries(page) == before


def test_an_answer_goes_on_while_one_goes_back_and_forward(page: Page, wire: Wire) -> None:
    talk(page, wire, "About apples", "They are red.")
    page.get_by_role("button", name="New chat").click()
    answer = begin_answer(page, wire, "A story", "Once ")
    page.go_back()
    expect(answers(page).locator(".prose")).to_have_text("They are red.")
    answer.say(content="upon").finish()
    page.go_forward()
    expect(answers(page).locator(".prose")).to_have_text("Once upon")


def test_a_conversation_that_is_not_kept_is_said_to_be_so(new_tab: Visit, wire: Wire) -> None:
    page = new_tab.page()
    talk(page, wire, "About apples", "They are red.")
    address = page.url
    page.evaluate("location.hash = 'elsewhere'")
    expect(page.locator("#notice")).to_contain_text("has no conversation with that address")
    expect(page.locator("#title")).to_have_text("New chat")
    assert "#" not in page.url
    page.go_back()
    expect(page.locator("#title")).to_have_text("About apples")
    expect(page.locator("#notice")).to_be_empty()
    page.get_by_role("button", name="Delete About apples").click()
    page.locator("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#title")).to_have_text("New chat")
    other = new_tab.page()
    other.goto("about:blank")
    other.goto(address)
    expect(other.locator("#notice")).to_contain_text("has no conversation with that address")
    wire.answer().say(content="Hi").finish()
    say(other, "Hello")
    expect(answers(other).locator(".prose")).to_have_text("Hi")


def test_one_that_another_tab_forgets_has_no_address_any_more(new_tab: Visit, wire: Wire) -> None:
    first = new_tab.page()
    talk(first, wire, "About apples", "They are red.")
    second = new_tab.page()
    second.goto(first.url)
    expect(second.locator("#title")).to_have_text("About apples")
    first.get_by_role("button", name="Delete About apples").click()
    first.locator("dialog").get_by_role("button", name="Delete").click()
    expect(second.locator("#title")).to_have_text("New chat")
    assert "#" not in first.url + second.url


def test_the_link_to_the_message_box_leaves_the_address_alone(page: Page, wire: Wire) -> None:
    talk(page, wire, "About apples", "They are red.")
    address = page.url
    page.locator(".skip").press("Enter")
    expect(page.locator("#draft")).to_be_focused()
    assert page.url == address


def test_what_is_set_beside_the_messages_is_named_where_one_writes(page: Page) -> None:
    settings = page.locator("#active-settings")
    expect(settings).to_be_hidden()
    set_field(page, "System prompt", "Be brief.")
    set_field(page, "Declarations", "[]")
    page.locator("#panel").get_by_label("Format").select_option("json")
    expect(settings).to_have_text("System prompt · Tools · JSON")
    set_field(page, "Declarations", "")
    close_settings(page)
    expect(settings).to_have_text("System prompt · JSON")
    settings.click()
    expect(page.locator("#panel")).to_be_visible()
