"""Under a grammar any model makes valid calls, forced tokens cost no decode, and errors are reported."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from loading import opened

from glm_gguf.answers.grammar_constraint import Grammars
from glm_gguf.chat.events import Event, ToolCallDelta, ToolCallStart, collect
from glm_gguf.errors import EngineError, GlmGgufError, RequestError
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.model_handle import ModelHandle
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.model import GLM
from tests.answers.random_model import QUESTION, Tally, ask, count, write_random_model
from tests.chat.random_schemas import UNENFORCED

HOT = SamplingParams(temperature=1.5, top_k=0, top_p=1.0, seed=1, max_tokens=300)
OPTIONS = EngineOptions(threads=1, n_ctx=1024)
ANSWERS = 60


@pytest.fixture(scope="module")
def random_glm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GLM]:
    with GLM(write_random_model(tmp_path_factory.mktemp("random")), options=OPTIONS) as glm:
        yield glm


def test_any_model_calls_rightly(random_glm: GLM) -> None:
    tally = Tally()
    for number in range(ANSWERS):
        tools, result = ask(random_glm, number, 500)
        count(tally, tools, result)
    assert not tally.wrong
    assert tally.calls > ANSWERS / 3


def tool(schema: Any, **more: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"x": schema}, "required": ["x"]}
    return {"type": "function", "function": {"name": "f", "parameters": parameters, **more}}


@pytest.mark.parametrize("schema", UNENFORCED, ids=lambda schema: min(set(schema) - {"type"}))
def test_what_no_grammar_enforces_is_written_again(random_glm: GLM, schema: dict[str, Any]) -> None:
    validator = Draft202012Validator(tool(schema)["function"]["parameters"])
    seen = []
    for seed in range(12):
        sampling = SamplingParams(temperature=1.5, top_k=0, top_p=1.0, seed=seed, max_tokens=200)
        with contextlib.suppress(EngineError):  # no attempt was right
            result = random_glm.chat(QUESTION, [tool(schema)], sampling, tool_choice="required")
            assert (result.unenforced or "").startswith("tools[0].function.parameters/properties/x")
            assert all(validator.is_valid(json.loads(call.arguments)) for call in result.tool_calls)
            seen.append(result.attempts)
    assert seen
    assert max(seen) <= 4


def test_an_event_loop_is_served_alike(random_glm: GLM) -> None:
    async def gathered(schema: dict[str, Any]) -> list[Event]:
        stream = random_glm.astream(QUESTION, [tool(schema)], HOT, tool_choice="required", parallel_tool_calls=False)
        return [event async for event in stream]

    for schema in ({"type": "boolean"}, UNENFORCED[1]):
        result = collect(asyncio.run(gathered(schema)))
        assert [call.name for call in result.tool_calls] == ["f"]
        assert (result.unenforced is None) == (schema == {"type": "boolean"})


def test_strict_refuses_before_anything_is_written(random_glm: GLM) -> None:
    with pytest.raises(RequestError, match="properties/x/uniqueItems"):
        random_glm.chat(QUESTION, [tool(UNENFORCED[0], strict=True)])


FORMATS: dict[str, tuple[dict[str, Any], Callable[[str], bool]]] = {
    "choice": ({"type": "choice", "choices": ["yes", "no"]}, lambda text: text in ("yes", "no")),
    "regex": ({"type": "regex", "pattern": r"\d{3}/[a-z]"}, lambda text: len(text) == 5 and text[3] == "/"),
    "lark": ({"type": "lark", "grammar": 'start: "a" b\nb: /[0-9]/ "!"'}, lambda text: text[::2] == "a!"),
    "json_schema": (
        {"type": "json_schema", "json_schema": {"name": "n", "schema": {"enum": [{"a": 1}, [2]]}}},
        lambda text: json.loads(text) in ({"a": 1}, [2]),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("form", "fits"), FORMATS.values(), ids=FORMATS)
def test_an_answer_has_the_form_that_is_asked_for(
    random_glm: GLM, form: dict[str, Any], fits: Callable[[str], bool]
) -> None:
    for seed in range(4):
        sampling = SamplingParams(temperature=1.5, top_k=0, top_p=1.0, seed=seed, max_tokens=100)
        result = random_glm.chat(QUESTION, sampling=sampling, response_format=form)
        assert result.finish_reason == "stop"
        assert fits(result.content), result


def test_no_calls_where_none_are_wanted(random_glm: GLM) -> None:
    result = random_glm.chat(QUESTION, [tool({})], HOT, tool_choice="none")
    assert result.tool_calls == ()


@pytest.mark.parametrize(
    "options",
    [
        {"tool_choice": "always"},
        {"tool_choice": {"function": {"name": "other"}}},
        {"response_format": {"type": "xml"}},
        {"response_format": {"type": "regex", "pattern": "("}},
        {"response_format": {"type": "lark", "grammar": "nothing"}},
        {"response_format": {"type": "choice", "choices": []}},
    ],
    ids=str,
)
def test_what_cannot_be_met_is_refused_at_once(random_glm: GLM, options: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        random_glm.stream(QUESTION, [tool({})], **options)


def test_a_call_of_nothing_is_refused(random_glm: GLM) -> None:
    with pytest.raises(RequestError, match="no function is declared"):
        random_glm.stream(QUESTION, tool_choice="required")


def test_arguments_stream_under_a_grammar(random_glm: GLM) -> None:
    with random_glm.stream(QUESTION, [tool({"type": "integer"})], HOT, tool_choice="required") as events:
        seen = list(events)
    start = next(index for index, event in enumerate(seen) if isinstance(event, ToolCallStart))
    deltas = [event for event in seen[start:] if isinstance(event, ToolCallDelta) and event.index == 0]
    assert len(deltas) > 1


@pytest.fixture(scope="module")
def grammars(tiny_gguf: Callable[[str], Path]) -> Iterator[tuple[Grammars, ModelHandle]]:
    with opened(tiny_gguf("Q8_0"), OPTIONS) as model:
        yield Grammars(model.vocabulary), model


LARK = """start: call (<|assistant|> call)* <|observation|>
call: "get_weather\\n" %json {"enum": ["a"]}
"""


def test_forced_tokens_are_named_and_taken(grammars: tuple[Grammars, ModelHandle]) -> None:
    constraint = grammars[0].constraint(LARK)
    vocabulary = grammars[1].vocabulary
    written = b""
    while tokens := constraint.forced():
        written += b"".join(map(vocabulary.token_bytes, tokens))
        for token in tokens:
            constraint.accept(token)
    assert written.startswith(b"get_weather\n")
    while not constraint.finished:
        mask = constraint.allowed()
        assert mask is not None
        allowed = [token for token in range(vocabulary.size) if mask[token // 32] >> (token % 32) & 1]
        assert allowed
        constraint.accept(allowed[-1])
    assert constraint.forced() == []


CODE = 'def first(text):\n    """Its first word."""\n    return text.split()[0]\n'


@pytest.mark.parametrize(
    ("source", "drafted"),
    [
        (CODE, json.dumps(CODE)[1:-1]),
        ('say("Paris")', r"say(\"Paris\")"),
        ('Paris", "days": [1]', "Paris"),
        (r"C:\new\temp", r"C:\new\temp"),
        ("plain words", "plain words"),
    ],
    ids=["code", "quoted words", "the end of a string", "spelled already", "nothing to spell"],
)
def test_a_draft_is_spelled_as_json_spells_it(
    grammars: tuple[Grammars, ModelHandle], source: str, drafted: str
) -> None:
    constraint = grammars[0].constraint('start: %json {"type": "string"}')
    vocabulary = grammars[1].vocabulary
    assert constraint.accept_prefix(vocabulary.plain_ids('"'))
    fitted = constraint.fit_draft(vocabulary.plain_ids(source))
    text = b"".join(map(vocabulary.token_bytes, fitted)).decode()
    assert text == drafted
    for token in fitted:
        constraint.accept(token)


def test_a_token_against_the_grammar_is_an_error(grammars: tuple[Grammars, ModelHandle]) -> None:
    constraint = grammars[0].constraint(LARK)
    with pytest.raises(RequestError, match="against the grammar"):
        constraint.accept(grammars[1].vocabulary.plain_ids("x")[0])


def test_constraints_of_one_grammar_do_not_share_their_state(grammars: tuple[Grammars, ModelHandle]) -> None:
    first, second = grammars[0].constraint(LARK), grammars[0].constraint(LARK)
    for token in first.forced():
        first.accept(token)
    assert second.forced()


def test_a_text_that_is_no_grammar_is_refused(grammars: tuple[Grammars, ModelHandle]) -> None:
    for text in ("start: other", "start: (", 'start: %json {"not": {}}', ""):
        with pytest.raises(GlmGgufError):
            grammars[0].constraint(text)


def test_thousands_of_rules_in_a_row_do_not_end_the_process(grammars: tuple[Grammars, ModelHandle]) -> None:
    rules = "".join(f'a{index}: "x" a{index + 1}\n' for index in range(20_000))
    constraint = grammars[0].constraint(f'start: a0\n{rules}a20000: "y"\n')
    assert constraint.forced()
