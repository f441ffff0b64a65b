"""`web_search_options` of chat completions: one search in the server's sources, and a text with citations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from research.scripted_engine import ScriptedEngine, scripted
from server.serving import Served, serving

from glm_gguf.research.research_sources import ResearchSources
from glm_gguf.research.sourced_writing import RULES
from glm_gguf.server.settings import ServerSettings

ANSWER = "\nAnsel keeps the light【0†source】, and nobody else【9†source】.<|user|>"
TEXT = "Ansel keeps the light[1], and nobody else[?].\n\n## References\n\n1. The light: light.md"
SEARCHES: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "Who keeps the light?"}]}

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="session")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with five notes."""
    folder = tmp_path_factory.mktemp("notes")
    (folder / "light.md").write_text("# The light\n\nAnsel keeps the light.")
    for number in range(4):
        (folder / f"oil-{number}.md").write_text(f"# The oil {number}\n\nThe light burns the oil of seals.")
    return folder


@contextmanager
def searching(path: Path, notes: Path, answers: Any = (ANSWER,)) -> Iterator[tuple[openai.OpenAI, ScriptedEngine]]:
    settings = ServerSettings("tiny", research=ResearchSources(notes))
    with (
        scripted(path, answers) as (glm, engine),
        serving(settings, lambda: glm) as served,
        openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0, timeout=60) as client,
    ):
        yield client, engine


def asked(client: openai.OpenAI, **fields: Any) -> Any:
    return client.chat.completions.create(**{**SEARCHES, "web_search_options": {}, **fields})


def require_cited(text: str, annotations: Any) -> None:
    """The citation is where the text has it, and names the page."""
    (one,) = annotations
    cited = one["url_citation"]
    assert (one["type"], cited["url"], cited["title"]) == ("url_citation", "light.md", "The light")
    assert text[cited["start_index"] : cited["end_index"]] == "[1]"


def test_a_text_is_written_from_a_search_and_cites_its_pages(tiny_gguf: Callable[[str], Path], notes: Path) -> None:
    with searching(tiny_gguf("Q8_0"), notes) as (client, engine):
        answer = asked(client)
    (choice,) = answer.choices
    assert (choice.message.content, choice.finish_reason) == (TEXT, "stop")
    require_cited(TEXT, [one.to_dict() for one in choice.message.annotations])
    assert RULES["en"] in engine.prompts[0]
    assert "<|observation|>\n【0†The light†light.md】\n" in engine.prompts[0]
    assert answer.usage.prompt_tokens == len(engine.requests[0].prompt) - 1  # the newline begins the answer


def test_a_stream_says_the_same_and_has_the_citations_before_its_end(
    tiny_gguf: Callable[[str], Path], notes: Path
) -> None:
    with searching(tiny_gguf("Q8_0"), notes) as (client, _):
        chunks = list(asked(client, stream=True, stream_options={"include_usage": True}))
    deltas = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(one.delta.content or "" for one in deltas) == TEXT
    extras = [one.delta.model_extra or {} for one in deltas]
    (cited,) = [extra["annotations"] for extra in extras if "annotations" in extra]
    require_cited(TEXT, cited)
    assert [one.finish_reason for one in deltas[-2:]] == [None, "stop"]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 10


@pytest.mark.parametrize("stream", [False, True])
def test_a_text_that_the_tokens_cut_says_so(tiny_gguf: Callable[[str], Path], notes: Path, stream: bool) -> None:
    with searching(tiny_gguf("Q8_0"), notes) as (client, _):
        told = asked(client, max_tokens=4, stream=stream)
        last = list(told)[-1] if stream else told
    assert last.choices[0].finish_reason == "length"


@pytest.mark.parametrize(("size", "count"), [("low", 3), ("medium", 5)])
def test_the_context_size_says_how_many_documents_are_read(
    tiny_gguf: Callable[[str], Path], notes: Path, size: str, count: int
) -> None:
    with searching(tiny_gguf("Q8_0"), notes) as (client, engine):
        asked(client, web_search_options={"search_context_size": size})
    assert engine.prompts[0].count("<|observation|>\n【") == count


@pytest.mark.parametrize("stream", [False, True])
def test_time_that_is_over_before_the_text_begins_is_an_error(
    tiny_gguf: Callable[[str], Path], notes: Path, stream: bool
) -> None:
    with searching(tiny_gguf("Q8_0"), notes) as (client, _):
        with pytest.raises(openai.APIStatusError, match="time limit passed") as late:
            asked(client, stream=stream, extra_body={"timeout": 1e-9})
        assert late.value.status_code == 408


def test_the_conversation_before_the_question_is_read(tiny_gguf: Callable[[str], Path], notes: Path) -> None:
    before = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello"}]
    conversation = [*before, {"role": "assistant", "content": "Good day."}, *SEARCHES["messages"]]
    with searching(tiny_gguf("Q8_0"), notes) as (client, engine):
        asked(client, messages=conversation)
    assert "\n\nBe short.<|user|>\nHello<|assistant|>\nGood day.<|user|>\nWho keeps the light?" in engine.prompts[0]


FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a choice of functions": ({"tool_choice": "required"}, "tool_choice"),
    "a format": ({"response_format": {"type": "json_object"}}, "response_format"),
    "a format under another name": ({"extra_body": {"regex": "a+"}}, "regex"),
    "a question that nothing fits": ({"messages": [{"role": "user", "content": "Zzyzx?"}]}, "messages"),
    "a result of a call": ({"messages": [{"role": "tool", "tool_call_id": "c", "content": "1"}]}, "messages[0]"),
    "a size that there is not": ({"web_search_options": {"search_context_size": "vast"}}, "web_search_options"),
    "an adapter": ({"extra_body": {"lora": [{"id": 0, "scale": 1.0}]}}, "lora"),
    "functions": ({"tools": [FUNCTION]}, "tools"),
    "legacy functions": ({"functions": [FUNCTION["function"]]}, "functions"),
    "log probabilities": ({"logprobs": True}, "logprobs"),
    "several answers": ({"n": 2}, "n"),
    "variables of the template": ({"extra_body": {"chat_template_kwargs": {"a": 1}}}, "chat_template_kwargs"),
}


@pytest.fixture(scope="module")
def ready(tiny_gguf: Callable[[str], Path], notes: Path) -> Iterator[openai.OpenAI]:
    """A client of a server that writes nothing in these tests."""
    with searching(tiny_gguf("Q8_0"), notes, []) as (client, _):
        yield client


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_no_text_from_a_search_heeds_is_refused_by_name(ready: openai.OpenAI, name: str, stream: bool) -> None:
    fields, param = REFUSED[name]
    with pytest.raises(openai.BadRequestError) as refused:
        asked(ready, stream=stream, **fields)
    assert str(refused.value.param).startswith(param)
    assert f"{refused.value.param}: " in refused.value.message


def test_a_rumination_model_says_that_it_researches(rumination: Path, notes: Path) -> None:
    with searching(rumination, notes, []) as (client, _), pytest.raises(openai.BadRequestError, match="Rumination"):
        asked(client)


def test_without_sources_the_field_is_refused_by_name(served: Served) -> None:
    with (
        openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0, timeout=60) as client,
        pytest.raises(openai.BadRequestError, match="--research-sources") as refused,
    ):
        asked(client)
    assert refused.value.param == "web_search_options"
