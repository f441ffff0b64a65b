"""What the browser keeps: shared by tabs, full, forbidden or damaged, it costs no conversation and stops no page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from server.page.actions import (
    answers,
    begin_answer,
    close_settings,
    exported,
    open_settings,
    reload,
    said,
    say,
    talk,
    wait_for_answers,
)
from server.page.conftest import PATIENCE, Visit, chromium_path
from server.page.scripted_server import Wire


def contents(page: Page) -> list[str]:
    """All that was said in the one kept conversation, on whatever branch."""
    (conversation,) = exported(page, "Export all")["conversations"]
    return [message["content"] for message in conversation["messages"]]


def test_two_tabs_add_to_one_conversation(visit: Visit, wire: Wire) -> None:
    first = visit.page()
    talk(first, wire, "About apples", "They are red.")
    second = visit.page()
    second.locator(".conversation .open").click()
    wait_for_answers(second, 1)
    wire.answer().say(content="They ripen.").finish()
    first.bring_to_front()  # the browser draws the others once a second
    say(first, "And in autumn?")
    wait_for_answers(first, 2)
    expect(answers(second)).to_have_count(2)
    wire.answer().say(content="They rest.").finish()
    second.bring_to_front()
    say(second, "And in winter?")
    wait_for_answers(second, 3)
    expect(answers(first)).to_have_count(3)
    reload(first)
    first.locator(".conversation .open").click()
    expect(answers(first)).to_have_count(3)
    assert said(first) == ["About apples", "And in autumn?", "And in winter?"]


def test_what_one_tab_writes_the_other_does_not_show_as_broken(visit: Visit, wire: Wire) -> None:
    first, second = visit.page(), visit.page()
    answer = begin_answer(first, wire, "A story", "Once ")
    second.locator(".conversation .open").click()
    assert said(second) == ["A story"]
    second.get_by_role("button", name="Rename A story").click()
    second.get_by_label("Title").fill("A tale")
    second.keyboard.press("Enter")
    expect(first.locator("#title")).to_have_text("A tale")
    answer.say(content="upon").finish()
    for page in (first, second):
        expect(answers(page).locator(".prose")).to_have_text("Once upon")
        expect(page.locator(".ended, .branches")).to_have_count(0)
    assert contents(first) == contents(second) == ["A story", "Once upon"]


def test_what_one_tab_forgets_the_other_does_not_keep(visit: Visit, wire: Wire) -> None:
    second, first = visit.page(), visit.page()
    talk(first, wire, "About apples", "They are red.")
    second.locator(".conversation .open").click()
    first.get_by_role("button", name="Delete About apples").click()
    first.locator("dialog").get_by_role("button", name="Delete").click()
    expect(second.locator("#welcome")).to_be_visible()
    expect(second.locator(".conversation")).to_have_count(0)


STALE = """async () => {
    const { ConversationStorage } = await import("./page/chat/storage.js");
    const storage = await ConversationStorage.open();
    const [before] = await storage.all();
    const below = (id) => ({ id, parent: before.leaf, role: "user", content: id, created: 0 });
    const more = ["one", "two"].map((id) => ({ ...before, messages: [...before.messages, below(id)], leaf: id }));
    await Promise.all(more.map((state) => storage.put(state)));
    const [after] = await storage.all();
    return after.messages.map(({ content }) => content);
}"""


def test_a_state_that_is_behind_replaces_no_message(page: Page, wire: Wire) -> None:
    talk(page, wire, "About apples", "They are red.")
    assert page.evaluate(STALE) == ["About apples", "They are red.", "one", "two"]


def test_full_storage_is_said(own_visit: Visit, wire: Wire) -> None:
    page = own_visit.page()
    own_visit.context.new_cdp_session(page).send(
        "Storage.overrideQuotaForOrigin", {"origin": own_visit.address, "quotaSize": 1000}
    )
    wire.answer().say(content="long " * 10_000).finish()
    say(page, "Hello")
    wait_for_answers(page, 1)
    expect(page.locator("#notice")).to_contain_text("could not keep this conversation")


@pytest.fixture
def forbidden(browser: Browser, tmp_path: Path) -> Iterator[BrowserContext]:
    """A profile in which its owner has forbidden sites to store anything."""
    rules = {"profile": {"default_content_setting_values": {"cookies": 2}}}
    (tmp_path / "Default").mkdir()
    (tmp_path / "Default" / "Preferences").write_text(json.dumps(rules), "utf-8")
    kind = browser.browser_type
    with kind.launch_persistent_context(tmp_path, executable_path=chromium_path()) as context:
        context.set_default_timeout(PATIENCE)
        yield context


def test_where_sites_may_store_nothing_the_page_works_and_says_so(
    forbidden: BrowserContext, visit: Visit, wire: Wire
) -> None:
    page = Visit(forbidden, visit.address).page()
    expect(page.locator("#kept")).to_contain_text("Not kept")
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        expect(page.get_by_text("This browser keeps no conversations")).to_be_visible()
    page.set_viewport_size({"width": 1280, "height": 800})
    page.get_by_role("button", name="Dark colours").click()
    expect(page.get_by_role("button", name="Light colours")).to_be_visible()
    open_settings(page)
    page.get_by_label("API key").fill("sesame")
    page.get_by_label("API key").press("Tab")
    close_settings(page)
    talk(page, wire, "About apples", "They are red.")
    assert wire.headers[-1]["authorization"] == "Bearer sesame"
    talk(page, wire, "About pears", "They are green.")
    page.locator(".conversation .open", has_text="About apples").click()
    expect(answers(page).locator(".prose")).to_have_text("They are red.")
    expect(page.locator("#notice")).to_be_empty()


DAMAGE = """async () => {
    const { ConversationStorage } = await import("./page/chat/storage.js");
    const storage = await ConversationStorage.open();
    const [sound] = await storage.all();
    const broken = [{ messages: null }, { messages: [{ ...sound.messages[0], content: 1 }] }, { leaf: "gone" }];
    for (const [id, part] of broken.entries()) await storage.put({ ...sound, ...part, id: `${id}` });
}"""


def test_damaged_conversations_are_left_out_and_the_others_shown(page: Page, wire: Wire) -> None:
    talk(page, wire, "About apples", "They are red.")
    page.evaluate(DAMAGE)
    reload(page)
    expect(page.locator("#notice")).to_contain_text("3 kept conversations are damaged")
    expect(page.locator(".conversation .open")).to_have_text(["About apples"])
    page.locator(".conversation .open").click()
    expect(answers(page).locator(".prose")).to_have_text("They are red.")
