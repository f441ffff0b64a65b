"""Conversations are kept in the browser: found, renamed, forgotten, carried away and brought back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from server.page.actions import answers, begin_answer, exported, reload, said, say, set_field, talk, wait_for_answers
from server.page.conftest import Visit
from server.page.scripted_server import Wire


def titles(page: Page) -> list[str]:
    return page.locator(".conversation .open").all_inner_texts()


def imported(page: Page, content: object) -> None:
    """Import a file of this content."""
    text = content if isinstance(content, str) else json.dumps(content)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Import").click()
    chooser.value.set_files({"name": "f.json", "mimeType": "application/json", "buffer": text.encode()})


def test_they_are_found_by_what_was_said(page: Page, wire: Wire) -> None:
    talk(page, wire, "About apples", "They are red.")
    talk(page, wire, "About pears", "They are GREEN.")
    assert titles(page) == ["About pears", "About apples"]
    page.keyboard.press("Control+k")
    page.keyboard.type("green")
    expect(page.locator(".conversation .open")).to_have_text(["About pears"])
    page.get_by_label("Search conversations").fill("bananas")
    expect(page.locator("#conversations")).to_contain_text("No conversation contains these words")


def test_one_can_be_renamed_and_forgotten(page: Page, wire: Wire) -> None:
    talk(page, wire, "About apples", "They are red.")
    page.get_by_role("button", name="Rename About apples").click()
    page.get_by_label("Title").fill("<b>Fruit</b>")
    page.keyboard.press("Enter")
    expect(page.locator("#title")).to_have_text("<b>Fruit</b>")
    page.get_by_role("button", name="Delete <b>Fruit</b>").click()
    page.get_by_role("button", name="Cancel").click()
    assert titles(page) == ["<b>Fruit</b>"]
    page.get_by_role("button", name="Delete <b>Fruit</b>").click()
    page.locator("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".conversation")).to_have_count(0)
    reload(page)
    expect(page.locator("#conversations")).to_contain_text("No conversations yet")


def test_what_is_exported_is_the_same_after_an_import_elsewhere(
    page: Page, wire: Wire, visit: Visit, visit_to: Callable[..., Visit]
) -> None:
    set_field(page, "System prompt", "Be brief.")
    wire.answer().say(reasoning_content="Hm.").call(0, "f", "{}").finish("tool_calls")
    say(page, "Question")
    wait_for_answers(page, 1).locator("form textarea").fill("42")
    wire.answer().say(content="It is 42.").finish()
    page.get_by_role("button", name="Send result").click()
    wait_for_answers(page, 2)
    wire.answer().say(content="42, as I said.").finish()
    page.get_by_role("button", name="Write this answer again").last.click()
    expect(page.locator(".branches")).to_contain_text("2 / 2")
    file = exported(page, "Export all")

    other = visit_to(visit.address).page()
    imported(other, file)
    expect(answers(other)).to_have_count(2)
    expect(answers(other).last.locator(".prose")).to_have_text("42, as I said.")
    expect(other.locator(".branches")).to_contain_text("2 / 2")
    reload(other)
    other.locator(".conversation .open").click()
    again = exported(other, "Export Question")
    for conversation in (*file["conversations"], *again["conversations"]):
        del conversation["id"]
    assert again == file
    assert file["conversations"][0]["settings"]["system"] == "Be brief."


def test_an_import_replaces_nothing(page: Page, wire: Wire) -> None:
    talk(page, wire, "About apples", "They are red.")
    imported(page, exported(page, "Export all"))
    expect(page.locator(".conversation .open")).to_have_text(["About apples", "About apples"])


MESSAGE = {"id": "a", "parent": None, "role": "user", "content": "Hello"}
ANSWER = {"id": "b", "parent": "a", "role": "assistant", "content": "Hi"}


def file_of(*messages: dict[str, Any], leaf: str = "a") -> dict[str, Any]:
    """An archive of one conversation."""
    conversation = {"title": "T", "messages": list(messages), "leaf": leaf}
    return {"form": "glm-gguf conversations", "version": 1, "conversations": [conversation]}


DAMAGED = {
    "no JSON": ("{", "not JSON"),
    "another file": ({"a": 1}, "not a file of exported conversations"),
    "a list": ([], "not a file of exported conversations"),
    "null": ("null", "not a file of exported conversations"),
    "a later version": ({**file_of(), "version": 2}, "version 2"),
    "no conversations": ({**file_of(), "conversations": {}}, "no list"),
    "too many conversations": ({**file_of(), "conversations": [None] * 10_001}, "more than 10000"),
    "no messages": ({**file_of(), "conversations": [None]}, "Conversation 1"),
    "no id": (file_of({**MESSAGE, "id": 1}), "message 1 has no id"),
    "an id with quotes": (file_of({**MESSAGE, "id": 'a"]'}, leaf='a"]'), "message 1 has no id"),
    "one id twice": (file_of(MESSAGE, MESSAGE), "message 2 has the id of an earlier one"),
    "a circle": (file_of({**MESSAGE, "parent": "a"}), "names no earlier message"),
    "a role": (file_of({**MESSAGE, "role": "system"}), "an unknown role"),
    "no text": (file_of({**MESSAGE, "content": {"a": 1}}), "no text"),
    "calls": (file_of(MESSAGE, {**ANSWER, "calls": [{"name": 1}]}), "invalid calls"),
    "a leaf": (file_of(MESSAGE, leaf="x"), "does not contain"),
}


DRAWINGS = """() => {
    window.drawings = 0;
    const added = (records) => records.filter(({ addedNodes }) => addedNodes.length).length;
    const observer = new MutationObserver((records) => { window.drawings += added(records); });
    observer.observe(document.querySelector("#conversations"), { childList: true });
}"""


def test_many_conversations_are_listed_at_once(page: Page) -> None:
    file = file_of(MESSAGE)
    page.evaluate(DRAWINGS)
    imported(page, {**file, "conversations": file["conversations"] * 100})
    expect(page.locator("#announcer")).to_have_text("100 conversations imported.")
    expect(page.locator(".conversation")).to_have_count(100)
    assert page.evaluate("drawings") < 5
    imported(page, file)
    expect(page.locator("#announcer")).to_have_text("One conversation imported.")


def test_a_file_that_is_too_large_is_not_read(page: Page, tmp_path: Path) -> None:
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(100_000_001)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Import").click()
    chooser.value.set_files(large)
    expect(page.locator("#notice")).to_contain_text("larger than 100 MB")


@pytest.mark.parametrize(("content", "complaint"), DAMAGED.values(), ids=DAMAGED.keys())
def test_a_file_of_another_form_is_refused_with_the_place(page: Page, content: object, complaint: str) -> None:
    imported(page, content)
    expect(page.locator("#notice")).to_contain_text(complaint)
    expect(page.locator(".conversation")).to_have_count(0)


def test_a_hostile_file_brings_text_only(page: Page) -> None:
    evil = "<img src=x onerror='window.owned=1'>"
    strange = {**ANSWER, "content": evil, "rate": "fast", "usage": [evil], "finish": evil, "extra": evil}
    imported(page, file_of({**MESSAGE, "content": evil, "created": "now"}, strange, leaf="b"))
    expect(answers(page).locator(".prose")).to_have_text(evil)
    assert said(page) == [evil]
    assert page.evaluate("window.owned") is None


def test_a_reload_in_the_middle_of_an_answer_that_the_server_lost_keeps_what_came(own_visit: Visit, wire: Wire) -> None:
    own_visit.tolerated.append("404")
    page = own_visit.page()
    page.clock.install()
    answer = begin_answer(page, wire, "A story", "Once ")
    page.clock.fast_forward(10_000)
    answer.say(content="upon")
    expect(page.locator("[aria-busy] .prose")).to_have_text("Once upon")
    wire.refuse(404, "There is no such answer.", "answer_gone")
    reload(page)
    page.locator(".conversation .open").click()
    expect(answers(page).locator(".prose")).to_have_text("Once upon")
    expect(answers(page).locator(".ended")).to_have_text("The answer broke off.")
