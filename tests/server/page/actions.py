"""What a person does on the page, and where things are on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect
from server.page.scripted_server import Answer, Wire


def say(page: Page, text: str) -> None:
    """Write a message and send it by Enter."""
    page.locator("#draft").fill(text)
    page.locator("#draft").press("Enter")


def answers(page: Page) -> Locator:
    """The model's finished messages."""
    return page.locator(".message.assistant:not([aria-busy])")


def said(page: Page) -> list[str]:
    """The user's messages as they are shown."""
    return page.locator(".message.user .said").all_inner_texts()


SOON = """([selector, count]) => new Promise((done) => {
    const look = () => document.querySelectorAll(selector).length === count && done();
    new MutationObserver(look).observe(document, { subtree: true, childList: true, attributes: true });
    setTimeout(done, 2000);
    look();
})"""
"""Playwright looks after 0.1 s, then after 0.25, 0.5 and 1; so a test waits longer than the page needs."""


def wait_for_answers(page: Page, count: int) -> Locator:
    """Wait until so many answers are shown and none is being written; return the last."""
    page.evaluate(SOON, ["body:has(#stop[hidden]) .message.assistant:not([aria-busy])", count])
    expect(answers(page)).to_have_count(count)
    expect(page.locator("#stop")).to_be_hidden()
    return answers(page).last


def begin_answer(page: Page, wire: Wire, text: str, content: str) -> Answer:
    """Say something, and see the beginning of its answer, which goes on being written."""
    answer = wire.answer().say(content=content)
    say(page, text)
    page.evaluate(SOON, ["[aria-busy] .prose", 1])
    expect(page.locator("[aria-busy] .prose")).to_have_text(content.strip())
    return answer


def set_field(page: Page, label: str, value: str) -> None:
    """Fill a field of the settings."""
    open_settings(page)
    page.locator("#panel").get_by_label(label, exact=False).fill(value)


def open_settings(page: Page) -> None:
    """Open the panel, if it is closed."""
    if page.locator("#panel").is_hidden():
        page.locator("#toggle-panel").click()


def close_settings(page: Page) -> None:
    """Close the panel."""
    page.get_by_role("button", name="Close settings").click()


def talk(page: Page, wire: Wire, text: str, answer: str) -> None:
    """Have a conversation of one question."""
    page.get_by_role("button", name="New chat").click()
    wire.answer().say(content=answer).finish()
    say(page, text)
    wait_for_answers(page, 1)


STORED = """async () => {
    const { ConversationStorage } = await import("./page/chat/storage.js");
    await (await ConversationStorage.open()).all();
}"""
"""The browser reads behind what is being written."""


def reload(page: Page) -> None:
    """Reload the page once the browser has stored what it keeps: a reload at the same moment would abort that."""
    page.evaluate(STORED)
    page.reload()


def exported(page: Page, button: str) -> dict[str, Any]:
    """Export, and read the file."""
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    return json.loads(Path(download.value.path()).read_text("utf-8"))  # type: ignore[no-any-return]
