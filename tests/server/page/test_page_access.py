"""Everybody can use the page: by keyboard, by screen reader, in light and dark, on a telephone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from server.page.actions import begin_answer, open_settings, say, set_field, wait_for_answers
from server.page.conftest import Scripted, Visit
from server.page.scripted_server import Wire

NARROW = {"width": 390, "height": 844}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "narrow": {"viewport": NARROW},
    "narrow and dark": {"viewport": NARROW, "color_scheme": "dark"},
}
EVERYTHING = """# Heading

A [link](https://example.invalid/), `code`, $x^2$, ![image](https://example.invalid/x.png), [dead](/x).

> Quote

| a | b |
|---|--:|
| 1 | 2 |

```python
@decorator
def f(x: int = 1) -> str:  # comment
    return f"text {x}" if x is not None else r"raw"
```

```svg
<svg viewBox="0 0 9 9"><circle r="4"/></svg>
```
"""


def violations(page: Page) -> list[str]:
    """What axe finds serious or critical. Its script goes in as the browser's own, past the page's policy."""
    found = Axe().run(page).response["violations"]
    grave = [one for one in found if one["impact"] in ("serious", "critical")]
    return [f"{one['id']}: {[node['target'] for node in one['nodes']]}" for one in grave]


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS.keys())
def test_axe_finds_nothing_serious(
    wire: Wire, scripted: Scripted, visit_to: Callable[..., Visit], look: dict[str, Any]
) -> None:
    visit = visit_to(scripted.address, bypass_csp=True, reduced_motion="reduce", **look)
    visit.tolerated.append("postMessage")  # axe asks an artifact's frame, which has no origin to name
    page = visit.page()
    expect(page.locator("#model-name")).to_have_text("scripted")
    assert violations(page) == [], "empty"
    answer = wire.answer().say(reasoning_content="Hm.").say(content=EVERYTHING)
    say(page, "Show me everything")
    expect(page.locator("[aria-busy] math")).to_be_visible()
    page.locator(".thought summary").click()
    assert violations(page) == [], "while it writes"
    answer.call(0, "get_weather", '{"city": "A"}').finish("tool_calls", completion=880)
    message = wait_for_answers(page, 1)
    expect(message.locator("form.calls")).to_be_visible()
    assert violations(page) == [], "an answer"
    message.get_by_role("button", name="Show image").click()
    assert violations(page) == [], "an artifact"
    page.get_by_role("button", name="Close artifact").click()
    open_settings(page)
    page.get_by_label("Declarations").fill("{")
    assert violations(page) == [], "settings"
    page.get_by_role("button", name="Close settings").click()
    page.keyboard.press("Control+/")
    assert violations(page) == [], "a dialog"


def test_a_conversation_by_keyboard_alone(page: Page, wire: Wire) -> None:
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#draft")).to_be_focused()
    page.keyboard.type("One")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("Two")
    wire.answer().say(content="Three").finish()
    page.keyboard.press("Enter")
    wait_for_answers(page, 1)
    assert wire.request()["messages"] == [{"role": "user", "content": "One\nTwo"}]
    expect(page.locator("#draft")).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("textbox", name="Edit message")).to_be_focused()
    wire.answer().say(content="Four").finish()
    page.keyboard.press("Control+a")
    page.keyboard.type("Else")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".message.assistant:not([aria-busy]) .prose")).to_have_text("Four")
    expect(page.locator("#draft")).to_be_focused()
    page.keyboard.press("Control+Shift+O")
    expect(page.locator("#welcome")).to_be_visible()
    page.keyboard.press("Control+/")
    expect(page.locator("dialog")).to_contain_text("Keyboard shortcuts")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+.")
    expect(page.locator("#panel")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#panel")).to_be_hidden()
    expect(page.locator("#toggle-panel")).to_be_focused()


def test_enter_chooses_while_an_input_method_composes(page: Page) -> None:
    page.locator("#draft").fill("ni")
    page.locator("#draft").evaluate(
        "field => field.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', isComposing: true }))"
    )
    expect(page.locator("#draft")).to_have_value("ni")


def test_a_screen_reader_hears_the_answer_once(page: Page, wire: Wire) -> None:
    page.evaluate(
        """() => {
            window.heard = [];
            const announcer = document.querySelector('[role=status]');
            new MutationObserver(() => heard.push(announcer.textContent)).observe(announcer, { childList: true });
        }"""
    )
    answer = wire.answer()
    say(page, "Hello")
    for word in ("It ", "is ", "noon."):
        answer.say(content=word)
    answer.finish()
    wait_for_answers(page, 1)
    assert page.evaluate("heard") == ["The model is writing.", "Answer: It is noon."]


def test_the_colours_follow_the_device_until_they_are_chosen(own_visit: Visit) -> None:
    page = own_visit.page()

    def ground() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    page.emulate_media(color_scheme="dark")
    dark = ground()
    page.emulate_media(color_scheme="light")
    light = ground()
    assert dark != light
    page.get_by_role("button", name="Dark colours").click()
    assert ground() == dark
    page.reload()
    assert ground() == dark
    page.get_by_role("button", name="Light colours").click()
    assert ground() == light


def test_a_telephone_shows_one_thing_at_a_time(wire: Wire, scripted: Scripted, visit_to: Callable[..., Visit]) -> None:
    page = visit_to(scripted.address, viewport=NARROW, has_touch=True).page()
    expect(page.locator("#sidebar")).to_be_hidden()
    wire.answer().say(content="| a |\n|---|\n" + f"| {'wide ' * 60} |" + "\n\n```\n" + "x" * 500 + "\n```").finish()
    say(page, "A " + "long" * 100)
    wait_for_answers(page, 1)
    assert page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]
    assert page.locator("#transcript").evaluate("list => list.scrollWidth - list.clientWidth") == 0
    page.get_by_role("button", name="Conversations", exact=True).tap()
    expect(page.locator("#close-sidebar")).to_be_focused()
    assert page.locator("#main").evaluate("main => main.inert")
    page.keyboard.press("Escape")
    expect(page.locator("#sidebar")).to_be_hidden()
    expect(page.locator("#toggle-sidebar")).to_be_focused()
    page.get_by_role("button", name="Conversations", exact=True).tap()
    page.locator(".conversation .open").tap()
    expect(page.locator("#sidebar")).to_be_hidden()
    assert not page.locator("#main").evaluate("main => main.inert")


def test_on_a_telephone_all_below_the_message_box_has_room(wire: Wire, visit: Visit) -> None:
    page = visit.page(**NARROW)
    set_field(page, "System prompt", "Be brief.")
    page.get_by_role("button", name="Insert an example").click()
    page.locator("#panel").get_by_label("Format").select_option("json")
    page.get_by_role("button", name="Close settings").click()
    wire.answer().say(content="Yes").finish(completion=800)
    say(page, "Hello")
    wait_for_answers(page, 1)
    send, composer = page.locator("#send").bounding_box(), page.locator("#composer").bounding_box()
    assert send is not None
    assert composer is not None
    assert send["width"] == send["height"]
    assert send["x"] + send["width"] <= composer["x"] + composer["width"]
    expect(page.locator("#active-settings")).to_have_text("System prompt · Tools · JSON")
    expect(page.locator("#meter-text")).to_be_visible()


def test_on_a_telephone_one_drawer_takes_the_place_of_another(visit: Visit) -> None:
    page = visit.page(**NARROW)
    page.keyboard.press("Control+.")
    expect(page.locator("#panel")).to_be_visible()
    page.keyboard.press("Control+k")
    expect(page.locator("#panel")).to_be_hidden()
    expect(page.locator("#toggle-panel")).to_have_attribute("aria-expanded", "false")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.press("Control+.")
    expect(page.locator("#sidebar")).to_be_hidden()
    expect(page.get_by_role("button", name="Close settings")).to_be_focused()
    assert page.locator("#main").evaluate("main => main.inert")


def test_escape_closes_what_lies_over_an_answer_before_it_stops_it(wire: Wire, visit: Visit) -> None:
    page = visit.page(**NARROW)
    answer = begin_answer(page, wire, "A story", "Once ")
    page.get_by_role("button", name="Conversations", exact=True).click()
    page.locator("#kept").click()
    expect(page.locator("body")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#sidebar")).to_be_hidden()
    answer.say(content="upon")
    expect(page.locator("[aria-busy] .prose")).to_have_text("Once upon")
    page.keyboard.press("Escape")
    expect(page.locator(".ended")).to_have_text("Stopped.")


def test_a_small_screen_shows_the_empty_page_from_its_top(visit: Visit) -> None:
    page = visit.page(width=360, height=640)
    expect(page.locator("#model-name")).to_have_text("scripted")
    expect(page.locator("#welcome h2")).to_be_in_viewport(ratio=1)


def test_every_button_has_a_name_and_every_field_a_label(page: Page, wire: Wire) -> None:
    wire.answer().call(0, "f", "{}").finish("tool_calls")
    say(page, "Hello")
    wait_for_answers(page, 1)
    open_settings(page)
    snapshot = page.locator("body").aria_snapshot()
    assert not re.search(r"- (button|textbox|combobox|searchbox|link)(?: \[|:|$)", snapshot, re.M)
