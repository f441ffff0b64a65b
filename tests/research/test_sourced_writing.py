"""Texts from sources: prompts have the card's form, and every citation leads somewhere or is marked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lxml import html as lxml_html
from research.conftest import SmallCorpus
from research.scripted_engine import scripted

from glm_gguf.chat.events import TextDelta
from glm_gguf.errors import CorpusError, RequestError
from glm_gguf.research.citations import CitationResolver
from glm_gguf.research.html_page import html_page
from glm_gguf.research.research_events import Source
from glm_gguf.research.sourced_writing import RULES, SourcedText, SourcedWriting
from glm_gguf.research.sources import SourceText, corpus_sources, read_sources
from tests.chat.test_templates import render

SOURCES = [
    SourceText("One", "https://a.test/1", "The keeper is Ansel."),
    SourceText("Two", "notes/two.md", "Seal oil."),
]


@pytest.mark.parametrize(("question", "rules"), [("Who keeps it?", "en"), ("谁是看守人？", "zh")])
def test_the_prompt_is_the_official_templates(
    official: Path, templated: Callable[[str], Path], question: str, rules: str
) -> None:
    template = official / "templates" / "glm-4-0414.jinja"
    messages = [
        {"role": "system", "content": RULES[rules]},
        {"role": "user", "content": question},
        {"role": "observation", "content": "【0†One†https://a.test/1】\nThe keeper is Ansel."},
        {"role": "observation", "content": "【1†Two†notes/two.md】\nSeal oil."},
    ]
    with scripted(templated(template.read_text("utf-8")), ["\nAnsel【0†source】.<|user|>"]) as (glm, engine):
        written = SourcedWriting(glm, SOURCES).write(question)
    expected = render(template, {"messages": messages, "add_generation_prompt": True})
    assert engine.prompts[0] in (expected, f"{expected}\n")
    assert written == SourcedText(question, "Ansel[1].", (Source(1, "One", "https://a.test/1"),), (), True)


CITED = {
    "one": ("a【0†source】.", "a[1].", [1], []),
    "in order of appearance": ("a【1†source】b【0†source】c【1†source】", "a[1]b[2]c[1]", [2, 1], []),
    "side by side": ("a【0†source】【1†source】", "a[1][2]", [1, 2], []),
    "in Chinese": ("灯【1†来源】。", "灯[1]。", [2], []),
    "without a word": ("a【0】", "a[1]", [1], []),
    "with a title": ("a【0†One†https://a.test/1】", "a[1]", [1], []),
    "one that leads nowhere": ("a【7†source】b【7†source】", "a[?]b[?]", [], [7]),
    "no citation": ("【注】a【b†source】", "【注】a【b†source】", [], []),
    "not closed": ("a【0†source", "a【0†source", [], []),
    "over a line": ("a【0†\nsource】", "a【0†\nsource】", [], []),
    "over a line before the number": ("a【\n0†source】", "a【\n0†source】", [], []),
    "of the longest": (f"a【0†{'x' * 61}】", "a[1]", [1], []),
    "longer": (f"a【0†{'x' * 62}】b【0】", f"a【0†{'x' * 62}】b[1]", [1], []),
    "long": (f"a【0†{'x' * 99}", f"a【0†{'x' * 99}", [], []),
}


@pytest.mark.parametrize("name", CITED)
def test_citations_become_references_however_the_text_is_cut(name: str) -> None:
    text, expected, cited, missing = CITED[name]
    for size in (1, 2, 3, 5, len(text)):
        resolver = CitationResolver(SOURCES)
        pieces = [resolver.feed(text[at : at + size]) for at in range(0, len(text), size)]
        assert (whole := "".join([*pieces, resolver.flush()])) == expected
        assert [whole[one.start : one.end] for one in resolver.citations] == re.findall(r"\[\d\]", expected)
        assert [one.title for one in resolver.references] == [SOURCES[number - 1].title for number in cited]
        assert resolver.missing == missing


def test_the_markdown_ends_with_the_references(tiny_gguf: Callable[[str], Path]) -> None:
    answer = "\nSeal oil【1†source】, says Ansel【0†source】【9†source】.<|user|>"
    with scripted(tiny_gguf("Q8_0"), [answer]) as (glm, _):
        events = list(SourcedWriting(glm, SOURCES).stream("Which oil?"))
    written = events[-1]
    assert isinstance(written, SourcedText)
    assert written.markdown() == (
        "Seal oil[1], says Ansel[2][?].\n\n## References\n\n1. Two: notes/two.md\n2. One: https://a.test/1\n"
    )
    assert written.missing == (9,)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == written.text


def test_html_links_what_leads_somewhere_and_runs_nothing() -> None:
    table = "| a | b |\n|---|---|\n| 1 | 2 |"
    text = f"# T\n\nOil[1] <script>alert(1)</script> [x](javascript:alert(1)) `a[1]`[2][?][9]\n\n{table}"
    references = (Source(1, "<b>One</b>", "https://a.test/?a=1&b=2"), Source(2, "Two", "javascript:alert(1)"))
    page = html_page(SourcedText("<Who>?", text, references, (9,), True))
    tree = lxml_html.fromstring(page)
    links = [link.get("href") for link in tree.iter("a")]
    assert links == ["#source-1", "#source-2", "https://a.test/?a=1&b=2"]
    assert all(tree.xpath(f"//*[@id='{link[1:]}']") for link in links if link.startswith("#"))
    assert not list(tree.iter("script"))
    assert tree.xpath("string(//code)") == "a[1]"
    assert tree.xpath("string(//title)") == "<Who>?"
    assert len(list(tree.iter("td"))) == 2


def test_long_sources_are_cut_until_they_fit(tiny_gguf: Callable[[str], Path]) -> None:
    long = [SourceText(str(number), "", "word " * 3000) for number in range(3)]
    with scripted(tiny_gguf("Q8_0"), ["\nA.<|user|>"]) as (glm, engine):
        SourcedWriting(glm, [*long, SOURCES[0]], {"max_tokens": 500}).write("Why?")
        assert glm.n_ctx // 2 < len(engine.requests[0].prompt) <= glm.n_ctx - 500
        assert "The keeper is Ansel." in engine.prompts[0]
        with pytest.raises(RequestError, match="200 sources do not fit"):
            SourcedWriting(glm, long[:1] * 200).stream("Why?")


def test_a_rumination_model_and_no_sources_are_refused(rumination: Path, tiny_gguf: Callable[[str], Path]) -> None:
    with scripted(rumination, []) as (glm, _), pytest.raises(RequestError, match="Rumination model does not write"):
        SourcedWriting(glm, SOURCES)
    with scripted(tiny_gguf("Q8_0"), []) as (glm, _):
        with pytest.raises(RequestError, match="no sources"):
            SourcedWriting(glm, [])
        with pytest.raises(RequestError, match="question"):
            SourcedWriting(glm, SOURCES).stream(" ")


def test_a_corpus_gives_the_documents_that_open_and_names_the_others(
    corpus: SmallCorpus, caplog: pytest.LogCaptureFixture
) -> None:
    assert [source.address for source in corpus_sources(corpus, "light", 5)] == ["a.test/one", "a.test/two"]
    assert "a source is left out: a.test/dead: the server answered with status 404" in caplog.text
    with pytest.raises(CorpusError, match="no source fits"):
        corpus_sources(corpus, "nothing", 5)


FILES: dict[str, tuple[Any, list[SourceText]]] = {
    "a list": ([{"title": "A", "url": "http://a", "content": "c"}], [SourceText("A", "http://a", "c")]),
    "SearXNG": (
        {"query": "q", "results": [{"url": "u", "title": "t †【x】", "content": "c"}]},
        [SourceText("t x", "u", "c")],
    ),
    "other names": ([{"link": "l", "snippet": "s"}], [SourceText("l", "l", "s")]),
    "other keys": (
        [{"title": "A", "content": "c", "url": "u", "subtitle": "s", "links": [], "contents": "x", "engine": "e"}],
        [SourceText("A", "u", "c")],
    ),
    "halves of characters": (
        [{"title": "A\ud83d", "content": "c\ud83d", "url": "u\ude00"}],
        [SourceText("A\ufffd", "u\ufffd", "c\ufffd")],
    ),
    "no address": ([{"text": "s", "title": None}], [SourceText("Source 0", "", "s")]),
}


@pytest.mark.parametrize("name", FILES)
def test_results_of_a_search_are_read(tmp_path: Path, name: str) -> None:
    values, expected = FILES[name]
    (tmp_path / "r.json").write_text(json.dumps(values))
    assert read_sources(tmp_path / "r.json") == expected


WRONG = {
    "no JSON": ("{", "no JSON"),
    "deep": ("[" * 10**5, "no JSON"),
    "a text twice": ('[{"content": "a", "content": "b"}]', "no JSON: the key 'content' occurs twice"),
    "a number": ("3", "no list of results"),
    "an empty list": ("[]", "no list of results"),
    "a text": ('["x"]', r"\[0\]: a result is an object"),
    "a title": ('[{"titel": "A", "url": "u", "content": "c"}]', r"\[0\]: a result has no key 'titel'; write 'title'"),
    "a text's name": ('[{"title": "A", "contnet": "c"}]', r"no key 'contnet'; write 'content'"),
    "an address": ('[{"title": "A", "content": "c", "adress": "u"}]', r"no key 'adress'; write 'address'"),
    "a capital": ('[{"title": "A", "content": "c", "URL": "u"}]', r"no key 'URL'; write 'url'"),
    "no content": ('[{"content": "x"}, {"title": "t", "content": " "}]', r"\[1\]: the result has no content"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_of_another_form_is_refused(tmp_path: Path, name: str) -> None:
    text, match = WRONG[name]
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(RequestError, match=match):
        read_sources(tmp_path / "r.json")


def test_the_rules_ask_for_the_citations_that_are_resolved() -> None:
    for rules in RULES.values():
        (cited,) = re.findall(r"【[^】]*】", rules)
        assert CitationResolver(SOURCES).feed(cited) == "[1]"
