"""An answer goes on while its page is reloaded, and the page picks it up."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect
from server.page.actions import STORED, answers, begin_answer, said, say, set_field, wait_for_answers
from server.page.conftest import Visit
from server.page.scripted_server import Wire
from server.serving import Served, idle, serving
from waiting import until

from glm_gguf import GLM
from glm_gguf.server.settings import ServerSettings


def reload(page: Page) -> None:
    page.evaluate(STORED)
    page.reload()


def test_the_page_picks_up_its_answer_after_a_reload(page: Page, wire: Wire) -> None:
    begin_answer(page, wire, "A story", "Once")
    again = wire.answer().say(content="Once")
    reload(page)
    expect(page.locator("[aria-busy] .prose")).to_have_text("Once")
    again.say(content=" upon a time.").finish()
    expect(wait_for_answers(page, 1).locator(".prose")).to_have_text("Once upon a time.")
    assert said(page) == ["A story"]
    assert len(wire.picked_up) == 1
    assert re.fullmatch("[0-9a-f]{32}", wire.picked_up[0])
    reload(page)
    expect(wait_for_answers(page, 1).locator(".prose")).to_have_text("Once upon a time.")
    assert len(wire.picked_up) == 1  # an answer that is over is not asked for


def test_what_was_stored_of_it_is_not_shown_twice(own_visit: Visit, wire: Wire) -> None:
    own_visit.context.clock.install()
    page = own_visit.page()
    answer = begin_answer(page, wire, "A story", "Once")
    page.clock.fast_forward(3000)
    answer.say(content=" upon")
    expect(page.locator("[aria-busy] .prose")).to_have_text("Once upon")
    again = wire.answer().say(content="Once upon a time.")
    reload(page)
    page.clock.fast_forward(1000)
    again.finish()
    expect(wait_for_answers(page, 1).locator(".prose")).to_have_text("Once upon a time.")
    expect(answers(page).locator(".branches")).to_have_count(0)


def test_an_answer_that_is_gone_can_be_asked_for_again(visit: Visit, wire: Wire) -> None:
    visit.tolerated.append("404")
    page = visit.page()
    begin_answer(page, wire, "A story", "Once")
    wire.refuse(404, "There is no such answer.", "answer_gone")
    reload(page)
    expect(page.locator("#notice")).to_contain_text("There is no such answer.")
    assert said(page) == ["A story"]
    wire.answer().say(content="Twice").finish()
    page.get_by_role("button", name="Try again").click()
    expect(wait_for_answers(page, 1).locator(".prose")).to_have_text("Twice")


def test_a_stopped_answer_is_stopped_at_the_server_and_not_picked_up(page: Page, wire: Wire) -> None:
    begin_answer(page, wire, "A story", "Once")
    page.get_by_role("button", name="Stop").click()
    wait_for_answers(page, 1)
    until(lambda: len(wire.stopped) == 1)
    reload(page)
    expect(wait_for_answers(page, 1).locator(".ended")).to_have_text("Stopped.")
    assert wire.picked_up == []


def test_what_the_browser_keeps_of_answers_is_read_with_care(visit: Visit, wire: Wire) -> None:
    page = visit.page()
    for stored in ("no JSON", "[]", '{"a": {"run": "../../x", "parent": null}}', '{"a": 3}'):
        page.evaluate("stored => sessionStorage.setItem('answers', stored)", stored)
        reload(page)
        page.locator("#welcome h2").wait_for()
    assert wire.picked_up == []


@pytest.fixture
def lasting(open_tiny: Callable[[], GLM]) -> Iterator[Served]:
    """The real server."""
    with serving(ServerSettings("tiny"), open_tiny) as running:
        yield running


def test_the_real_server_goes_on_with_an_answer_while_the_page_is_reloaded(
    lasting: Served, visit_to: Callable[..., Visit]
) -> None:
    page = visit_to(lasting.url).page()
    set_field(page, "Maximum tokens", "1500")
    set_field(page, "Temperature", "2")  # so hot that few drafts are accepted
    page.locator("#panel").get_by_label("Format").select_option("schema")
    set_field(page, "JSON schema", '{"type": "array", "items": {"type": "integer"}, "minItems": 3000}')
    say(page, "Hello")
    expect(page.locator("[aria-busy] .prose")).to_contain_text("[")
    steps = lasting.glm.status.steps
    reload(page)
    expect(page.locator("[aria-busy] .prose")).to_contain_text("[")
    page.get_by_role("button", name="Stop").click()
    expect(wait_for_answers(page, 1).locator(".ended")).to_have_text("Stopped.")
    until(lambda: idle(lasting))
    assert 0 < lasting.glm.status.steps - steps < 1500
