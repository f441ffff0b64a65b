"""Chat models research with the same tools as declarations; their prompts are the official template's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from research.conftest import SmallCorpus
from research.scripted_engine import scripted
from waiting import until

from glm_gguf import GLM
from glm_gguf.chat.tools import Toolbox
from glm_gguf.errors import RequestError
from glm_gguf.research.research import Research
from glm_gguf.research.research_events import CallFailed, Writing
from glm_gguf.research.research_options import ResearchOptions
from glm_gguf.research.research_prompt import INSTRUCTION, TOOLS, WRITE, ResearchPrompt
from glm_gguf.variant import Variant
from tests.chat.test_templates import render

QUESTION = "Who keeps the light?"
FOUND = "【0†One†a.test/one\nkeeper】\n\n【1†Two†a.test/two\noil】\n\n【2†Dead†a.test/dead\ngone】"
ANSWERS = [
    'search\n{"query": "light"}<|observation|>',
    'click\n{"link_id": 2}<|observation|>',
    'open\n{"url": "a.test/one"}<|observation|>',
    "finish\n{}<|observation|>",
    "\nAnsel keeps it.<|user|>",
]


@pytest.fixture
def chat(tiny_gguf: Callable[[str], Path]) -> Path:
    return tiny_gguf("Q8_0")


def test_prompts_equal_the_official_template(official: Path, templated: Callable[[str], Path]) -> None:
    template = official / "templates" / "glm-4-0414.jinja"
    corpus = SmallCorpus()
    with scripted(templated(template.read_text("utf-8")), ANSWERS) as (glm, engine):
        last = Research(glm, corpus).run(QUESTION)
    assert (last.text, last.ended_by, last.complete) == ("Ansel keeps it.", "finish", True)
    messages = [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": QUESTION}]
    dead = '{"error": "a.test/dead: the server answered with status 404"}'
    expected = []
    for answer, result in zip(ANSWERS, [FOUND, dead, corpus.pages["a.test/one"], WRITE, ""], strict=True):
        expected.append(render(template, {"messages": messages, "tools": list(TOOLS), "add_generation_prompt": True}))
        name, _, arguments = answer.removesuffix("<|observation|>").partition("\n")
        messages.append({"role": "assistant", "metadata": name, "content": arguments})
        messages.append({"role": "observation", "content": result})
    assert engine.prompts[:-1] == expected[:-1]
    assert engine.prompts[-1] in (expected[-1], expected[-1] + "\n")  # no call may open the report


def test_the_first_answer_must_be_a_call_and_the_last_must_not(chat: Path, corpus: SmallCorpus) -> None:
    with scripted(chat, ANSWERS) as (glm, engine):
        Research(glm, corpus).run(QUESTION)
        newline, name = glm.tokenize("\n")[0], glm.tokenize("search")[0]
    assert engine.prompts[-1].endswith("<|assistant|>\n")  # what follows is text
    first = engine.requests[0].constraint
    assert first is not None
    allowed = first.allowed()
    assert allowed is not None
    assert allowed[name // 32] >> (name % 32) & 1
    assert not allowed[newline // 32] >> (newline % 32) & 1


def test_an_answer_without_a_call_is_the_report(chat: Path, corpus: SmallCorpus) -> None:
    with scripted(chat, [*ANSWERS[:2], ANSWERS[4]]) as (glm, _):
        last = Research(glm, corpus).run(QUESTION)
    assert (last.text, last.ended_by, last.turns) == ("Ansel keeps it.", "answer", 3)


def test_a_cut_answer_is_told_to_the_model(chat: Path, corpus: SmallCorpus) -> None:
    with scripted(chat, ["\nLet me think " * 40, *ANSWERS]) as (glm, engine):
        told = list(Research(glm, corpus, {"answer_tokens": 60}).stream(QUESTION))
    cut, dead = [event.error for event in told if isinstance(event, CallFailed)]
    assert cut.startswith("the answer was cut")
    assert dead.endswith("status 404")
    assert "the answer was cut" in engine.prompts[1]


def test_the_languages_are_told_in_words(chat: Path, corpus: SmallCorpus) -> None:
    with scripted(chat, ANSWERS) as (glm, engine):
        Research(glm, corpus, {"search_language": "zh", "thinking_language": "en"}).run(QUESTION)
    assert "Search in 中文. Think in English." in engine.prompts[0]


def test_a_base_model_is_refused() -> None:
    with pytest.raises(RequestError, match="base model"):
        ResearchPrompt.of(Variant.BASE, ResearchOptions())


def test_the_declarations_are_tools() -> None:
    assert Toolbox((), TOOLS).declarations == TOOLS  # type: ignore[arg-type]


def test_closing_stops_the_model_in_the_middle_of_an_answer(
    tiny_gguf: Callable[[str], Path], corpus: SmallCorpus
) -> None:
    options = {"threads": 1, "n_ctx": 4096, "n_gpu_layers": 0}
    with GLM(tiny_gguf("Q8_0"), options=options) as glm:
        told = Research(glm, corpus, sampling={"temperature": 2, "top_p": 1}).stream("Who keeps the light?")
        next(event for event in told if isinstance(event, Writing))
        told.close()
        until(lambda: not glm.status.running)
