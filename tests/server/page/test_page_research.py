"""The page's research mode: a question, its trail as it is made, a report with references, and its export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from research.scripted_engine import call, scripted, text
from server.page.actions import answers, say, wait_for_answers
from server.page.conftest import Visit
from server.page.scripted_server import Answer, Wire
from server.serving import serving

from glm_gguf.research.research_sources import ResearchSources
from glm_gguf.server.settings import ServerSettings

HITS = [
    {"title": "The light", "address": "light.md"},
    {"title": "Seal oil <b>", "address": "https://example.org/oil"},
    {"title": "Odd", "address": "javascript:alert(1)"},
]
STEPS: list[dict[str, Any]] = [
    {"kind": "turn", "number": 1},
    {"kind": "search", "query": "who keeps the light", "hits": HITS},
    {"kind": "note", "text": "I read the first."},
    {"kind": "page", "title": "The light", "address": "light.md", "part": 1, "parts": 2},
    {"kind": "failed", "error": "there is no such document: gone.md"},
    {"kind": "turn", "number": 2},
    {"kind": "page", "title": "Seal oil <b>", "address": "https://example.org/oil", "part": 1, "parts": 1},
    {"kind": "report", "endedBy": "finish"},
]
SOURCES = [
    {"number": 1, "title": "The light", "address": "light.md"},
    {"number": 2, "title": "Seal oil <b>", "address": "https://example.org/oil"},
]
REPORT = "# The light\n\nAnsel keeps it, says light.md."


def switched_on(visit: Visit, wire: Wire) -> Page:
    wire.researches = True
    page = visit.page()
    page.get_by_role("button", name="Research").click()
    expect(page.get_by_role("button", name="Research")).to_have_attribute("aria-pressed", "true")
    return page


def tell(answer: Answer) -> Answer:
    """Send a whole research up to its report."""
    answer.say(reasoning_content="I think of keepers.")
    for step in STEPS:
        answer.say(research=step)
    return answer


def finish(answer: Answer) -> None:
    answer.say(content=REPORT)
    answer.say(research={"kind": "sources", "sources": SOURCES})
    answer.finish(prompt=5000, completion=300)


def researched(visit: Visit, wire: Wire) -> Page:
    page = switched_on(visit, wire)
    finish(tell(wire.answer()))
    say(page, "Who keeps the light?")
    wait_for_answers(page, 1)
    return page


def test_without_sources_there_is_no_research(page: Page) -> None:
    expect(page.locator("#research")).to_be_hidden()


def test_the_trail_is_shown_as_it_is_made(visit: Visit, wire: Wire) -> None:
    page = switched_on(visit, wire)
    answer = wire.answer()
    say(page, "Who keeps the light?")
    assert wire.request()["messages"] == [{"role": "user", "content": "Who keeps the light?"}]
    assert wire.routes == ["page-research"]
    answer.say(research=STEPS[0])
    answer.say(research=STEPS[1])
    trail = page.locator(".message.assistant .trail")
    expect(trail.locator("summary")).to_have_text("Researching… 1 search, 0 pages")
    expect(trail.locator(".steps > li").first).to_contain_text("who keeps the light")
    expect(trail.get_by_role("link")).to_have_count(1)
    tell(answer)
    expect(trail.locator("summary")).to_contain_text("Writing the report…")
    finish(answer)
    last = wait_for_answers(page, 1)
    expect(last.locator(".trail")).not_to_have_attribute("open", "")


def test_the_report_has_its_references(visit: Visit, wire: Wire) -> None:
    page = researched(visit, wire)
    answer = answers(page).last
    expect(answer.locator(".prose h3")).to_have_text("The light")
    expect(answer.locator(".trail summary")).to_have_text("Researched: 1 search, 2 pages")
    sources = answer.get_by_role("region", name="Sources").get_by_role("listitem")
    expect(sources).to_have_text(["The light light.md", "Seal oil <b>"])
    expect(sources.get_by_role("link")).to_have_attribute("href", "https://example.org/oil")
    expect(answer.locator("a[href^=javascript]")).to_have_count(0)


def test_the_report_is_saved_with_its_question_and_sources(visit: Visit, wire: Wire, tmp_path: Path) -> None:
    page = researched(visit, wire)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save report").click()
    assert download.value.suggested_filename == "who-keeps-the-light.md"
    download.value.save_as(tmp_path / "report.md")
    assert (tmp_path / "report.md").read_text("utf-8") == (
        f"> Who keeps the light?\n\n{REPORT}\n\n## Sources\n\n"
        "1. The light: light.md\n2. Seal oil <b>: https://example.org/oil\n"
    )


def test_a_research_is_there_again_after_a_reload(visit: Visit, wire: Wire) -> None:
    page = researched(visit, wire)
    page.reload()
    expect(answers(page).locator(".trail summary")).to_have_text("Researched: 1 search, 2 pages")
    expect(page.get_by_role("button", name="Research")).to_have_attribute("aria-pressed", "true")


def test_a_research_goes_on_while_the_page_is_reloaded(visit: Visit, wire: Wire) -> None:
    page = switched_on(visit, wire)
    answer = wire.answer()
    say(page, "Who keeps the light?")
    tell(answer)
    expect(page.locator(".trail summary")).to_contain_text("Writing the report…")
    again = wire.answer()
    page.reload()
    finish(tell(again))
    wait_for_answers(page, 1)
    expect(answers(page).locator(".trail summary")).to_have_text("Researched: 1 search, 2 pages")
    assert len(wire.picked_up) == 1


def test_the_next_question_has_the_report_before_it_and_may_be_a_plain_one(visit: Visit, wire: Wire) -> None:
    page = researched(visit, wire)
    wire.request()
    page.get_by_role("button", name="Research").click()
    wire.answer().say(content="Yes.").finish()
    say(page, "Is that so?")
    wait_for_answers(page, 2)
    asked = wire.request()
    assert wire.routes == ["page-research", "page-answers"]
    assert [one["content"] for one in asked["messages"]] == ["Who keeps the light?", REPORT, "Is that so?"]


def test_an_answer_from_one_search_can_be_chosen_instead(visit: Visit, wire: Wire) -> None:
    page = switched_on(visit, wire)
    page.get_by_label("How it is researched").select_option("One search")
    answer = wire.answer()
    say(page, "Who keeps the light?")
    assert wire.request()["web_search_options"] == {}
    assert wire.routes == ["page-research"]
    answer.say(research=STEPS[1])
    answer.say(research={"kind": "report", "endedBy": "search"})
    finish(answer)
    wait_for_answers(page, 1)
    page.reload()
    expect(page.get_by_label("How it is researched")).to_have_value("one")
    page.get_by_role("button", name="Research").click()
    expect(page.get_by_label("How it is researched")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_a_research_can_be_read_by_everyone(scheme: str, width: int, visit: Visit, wire: Wire) -> None:
    page = researched(visit, wire)
    page.locator(".trail summary").click()
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # colours do not fade
    found = Axe().run(page).response["violations"]
    assert [violation["id"] for violation in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_real_server_researches_for_the_page(rumination: Path, one_note: Path, visit_in_tab: Any) -> None:
    calls = [call("search", '{"query": "light"}'), call("click", '{"link_id": 0}'), call("finish")]
    settings = ServerSettings("tiny", research=ResearchSources(one_note))
    with scripted(rumination, [*calls, text(REPORT)]) as (glm, _), serving(settings, lambda: glm) as served:
        page = visit_in_tab(served.url).page()
        page.get_by_role("button", name="Research").click()
        say(page, "Who keeps the light?")
        answer = wait_for_answers(page, 1)
        expect(answer.locator(".trail summary")).to_have_text("Researched: 1 search, 1 page")
        expect(answer.get_by_role("region", name="Sources").get_by_role("listitem")).to_have_text("The light light.md")
        expect(answer.locator(".prose").last).to_contain_text("Ansel keeps it")


def test_the_real_server_answers_the_page_from_one_search(
    tiny_gguf: Callable[[str], Path], one_note: Path, visit_in_tab: Any
) -> None:
    settings = ServerSettings("tiny", research=ResearchSources(one_note))
    with (
        scripted(tiny_gguf("Q8_0"), ["\nAnsel does【0†source】.<|user|>"]) as (glm, _),
        serving(settings, lambda: glm) as served,
    ):
        page = visit_in_tab(served.url).page()
        page.get_by_role("button", name="Research").click()
        page.get_by_label("How it is researched").select_option("One search")
        say(page, "Who keeps the light?")
        answer = wait_for_answers(page, 1)
        expect(answer.locator(".trail summary")).to_have_text("Researched: 1 search, 0 pages")
        expect(answer.get_by_role("region", name="Sources").get_by_role("listitem")).to_have_text("The light light.md")
        expect(answer.locator(".prose").last).to_have_text("Ansel does[1].")
