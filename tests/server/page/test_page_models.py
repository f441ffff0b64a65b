"""The page chooses among the models of a server, and says which are loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from server.conftest import OPTIONS
from server.page.actions import reload, say, wait_for_answers
from server.page.conftest import Visit
from server.page.scripted_server import MODEL, Wire
from server.serving import Served, serving

from glm_gguf import GLM
from glm_gguf.server.pool.catalogue import ModelFiles
from glm_gguf.server.settings import ServerSettings
from glm_gguf.variant import Variant


def listed(name: str, state: str) -> dict[str, object]:
    return {**MODEL, "id": name, "state": state}


def choices(page: Page) -> list[str]:
    return page.locator("#model-select option").all_inner_texts()


@pytest.fixture
def several(visit: Visit, wire: Wire) -> Page:
    wire.listed = [listed("one", "asleep"), listed("two", "ready"), listed("three", "failed")]
    return visit.page()


def test_one_model_is_named_and_not_chosen(page: Page) -> None:
    expect(page.locator("#model-name")).to_have_text("scripted")
    expect(page.locator("#model-select")).to_be_hidden()


@pytest.mark.parametrize("variant", Variant)
def test_the_page_knows_which_variants_think(variant: Variant, visit: Visit, wire: Wire) -> None:
    wire.listed = [{**MODEL, "variant": variant}]
    page = visit.page()
    expect(page.locator("#model-name")).to_have_text("scripted")
    hint = page.get_by_text("It thinks before it answers.")
    expect(hint).to_have_count(1 if variant.thinks else 0)


def test_several_are_named_with_what_is_loaded_and_a_loaded_one_answers(several: Page, wire: Wire) -> None:
    expect(several.get_by_label("Model", exact=True)).to_have_value("two")
    assert choices(several) == ["one (not loaded)", "two (loaded)", "three (cannot be loaded)"]
    expect(several.locator("#model-name")).to_have_text("")
    wire.answer().say(content="Hi").finish()
    say(several, "Hello")
    wait_for_answers(several, 1)
    assert wire.request()["model"] == "two"


def test_the_chosen_model_answers_and_stays_chosen(several: Page, wire: Wire) -> None:
    several.get_by_label("Model", exact=True).select_option("one")
    expect(several.locator("#welcome dd").first).to_have_text("one")
    reload(several)
    expect(several.get_by_label("Model", exact=True)).to_have_value("one")
    wire.answer().say(content="Hi").finish()
    say(several, "Hello")
    wait_for_answers(several, 1)
    assert wire.request()["model"] == "one"


def test_a_choice_that_is_no_longer_there_gives_way(several: Page, wire: Wire) -> None:
    several.get_by_label("Model", exact=True).select_option("one")
    wire.listed = wire.listed[1:]
    reload(several)
    expect(several.get_by_label("Model", exact=True)).to_have_value("two")


def test_the_choice_says_what_is_loaded_now(several: Page, wire: Wire) -> None:
    wire.listed = [listed("one", "ready"), listed("two", "asleep"), listed("three", "failed")]
    several.get_by_label("Model", exact=True).focus()
    expect(several.locator("#model-select option").first).to_have_text("one (loaded)")
    expect(several.get_by_label("Model", exact=True)).to_have_value("two")


@pytest.fixture
def pooled(tiny_gguf: Callable[[str], Path]) -> Iterator[Served]:
    """The real server with two models and room for one."""
    paths = {type_: tiny_gguf(type_) for type_ in ("F32", "Q8_0")}
    files = ModelFiles(lambda: paths, lambda path, _: GLM(path, options=OPTIONS), lambda path, beside: False)
    with serving(ServerSettings("several"), files, wait=False) as running:
        yield running


def test_the_real_server_loads_what_is_chosen(pooled: Served, visit_to: Callable[..., Visit]) -> None:
    page = visit_to(pooled.url).page()
    expect(page.locator("#model-select option").first).to_have_text("F32 (not loaded)")
    for count, model in enumerate(("Q8_0", "F32")):
        page.get_by_label("Model", exact=True).select_option(model)
        say(page, "Hello")
        wait_for_answers(page, count + 1)
        assert [loaded.name for loaded in pooled.service.pool.loaded] == [model]
    expect(page.locator("#meter-text")).to_contain_text("of 4,096 tokens")
    expect(page.locator("#model-select option").first).to_have_text("F32 (loaded)")
