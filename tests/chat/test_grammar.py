"""Grammars of answers accept and refuse texts in which control tokens are spelled."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from llguidance import LLMatcher

from glm_gguf.chat.grammar import AnswerGrammar, AnswerRules, answer_grammar, rules
from glm_gguf.chat.response_format import ChoiceFormat, LarkFormat, RegexFormat, SchemaFormat, response_format
from glm_gguf.chat.tool_choice import AutoChoice, NamedChoice, NoChoice, RequiredChoice, tool_choice
from glm_gguf.errors import RequestError
from glm_gguf.schema.pattern_search import ROLES, byte_tokenizer


def tool(name: str, properties: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties or {}, "required": list(properties or {})}
    return {"type": "function", "function": {"name": name, "parameters": parameters, **more}}


TOOLS = [
    tool("get_weather", {"city": {"type": "string"}}),
    tool("db.query", {"limit": {"type": "integer"}, "sort": {"enum": ["up", "down"]}}),
    tool("天气"),
]
CALL = 'get_weather\n{"city": "北京"}'
OTHER = 'db.query\n{"limit": 3, "sort": "up"}'
OBSERVATION, NEXT = "<|observation|>", "<|assistant|>"
_ROLE = re.compile("(" + "|".join(map(re.escape, ROLES)) + ")")


def tokens(text: str) -> list[int]:
    """Write a text as bytes, its roles as control tokens."""
    ids: list[int] = []
    for piece in _ROLE.split(text):
        ids += [256 + ROLES.index(piece)] if piece in ROLES else list(piece.encode())
    return ids


def takes(grammar: AnswerGrammar | None, text: str) -> bool:
    assert grammar is not None
    matcher = LLMatcher(byte_tokenizer(), LLMatcher.grammar_from_lark(grammar.text), log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    written = tokens(text)
    return matcher.try_consume_tokens(written) == len(written) and matcher.is_accepting()


CALLS = [CALL + OBSERVATION, OTHER + OBSERVATION, "天气\n{}" + OBSERVATION]
SEVERAL = [f"{CALL}{NEXT}{OTHER}{OBSERVATION}", f"{CALL}{NEXT}{CALL}{NEXT}天气\n{{}}{OBSERVATION}"]
ANSWERS = ["\n", "\nIt is sunny.", "\n天气晴。\n\nBye", "\n2", '\n```json\n{"a": 1}\n```']
MIXED = [f"\nLet me look.{NEXT}{CALL}{OBSERVATION}"]
NEVER = [
    *("get_weather", "get_weather\n", CALL, "other\n{}" + OBSERVATION, "Hello", ""),
    *(f"{CALL}{CALL}{OBSERVATION}", f"{CALL}{NEXT}{OBSERVATION}", f"{CALL}\n{OBSERVATION}"),
    *(f"get_weather\n{{}}{OBSERVATION}", f'get_weather\n{{"city": 3}}{OBSERVATION}'),
    f'get_weather\n{{"city": "A", "unit": "C"}}{OBSERVATION}',
    f'db.query\n{{"sort": "up", "limit": 3}}{OBSERVATION}',
    f'dbxquery\n{{"limit": 3, "sort": "up"}}{OBSERVATION}',
    f"get_weather \n{{}}{OBSERVATION}",
    f"\nHm.{OBSERVATION}",
    f"\nHm.{NEXT}\nHm.",
]
RULES = {
    "auto": (AnswerRules(), [*CALLS, *SEVERAL, *ANSWERS, *MIXED], NEVER),
    "required": (AnswerRules(RequiredChoice()), [*CALLS, *SEVERAL], [*NEVER, *ANSWERS, *MIXED]),
    "none": (AnswerRules(NoChoice()), ANSWERS, [*NEVER, *CALLS, *SEVERAL, *MIXED]),
    "named": (
        AnswerRules(NamedChoice("db.query")),
        [CALLS[1], f"{OTHER}{NEXT}{OTHER}{OBSERVATION}"],
        [*NEVER, *ANSWERS, CALLS[0], *SEVERAL],
    ),
    "one call alone": (AnswerRules(parallel=False), [*CALLS, *ANSWERS, *MIXED], [*NEVER, *SEVERAL]),
}


@pytest.mark.parametrize(("asked", "good", "bad"), RULES.values(), ids=RULES)
def test_tools_and_choice(asked: AnswerRules, good: list[str], bad: list[str]) -> None:
    grammar = answer_grammar(TOOLS, asked)
    assert [text for text in good if not takes(grammar, text)] == []
    assert [text for text in bad if takes(grammar, text)] == []


def test_a_thought_stays_free() -> None:
    grammar = answer_grammar(TOOLS, AnswerRules(), starts_in_thought=True)
    for thought in ("Hm.\n</think>", "</think>", f"I call {CALL}\n\n</think>\n", "a </thin> b</think>"):
        for rest in (CALLS[0], SEVERAL[0], "\nYes.", "Yes.", f"\n{CALLS[1]}"):
            assert takes(grammar, thought + rest)
        assert not takes(grammar, f"{thought}get_weather\n{{}}{OBSERVATION}")
        assert not takes(grammar, f"{thought}\nget_weather\n{{broken")
    assert not takes(grammar, "Hm.")
    required = answer_grammar(TOOLS, AnswerRules(RequiredChoice()), starts_in_thought=True)
    assert takes(required, f"Hm.\n</think>\n{CALLS[0]}")
    assert not takes(required, "Hm.\n</think>\nYes.")


FORMATS = {
    "json_object": (SchemaFormat({"type": "object"}), ['\n{"a": [1, {}]}'], ["\n[1]", "\nText", '\n{"a": 1} x']),
    "json_schema": (SchemaFormat({"enum": ["a", 2]}), ['\n"a"', "\n2"], ["\n3", "\na"]),
    "regex": (RegexFormat(r"\d+/[a-z]"), ["\n12/a"], ["\n12a", "\n/a"]),
    "choice": (ChoiceFormat(("yes", "no", 'a"b')), ["\nyes", "\nno", '\na"b'], ["\nmaybe", "\nyesno"]),
    "lark": (LarkFormat('start: "a" b+\nb: /[0-9]/'), ["\na1", "\na12"], ["\na", "\n1"]),
}


@pytest.mark.parametrize(("form", "good", "bad"), FORMATS.values(), ids=FORMATS)
def test_formats(form: Any, good: list[str], bad: list[str]) -> None:
    grammar = answer_grammar([], AnswerRules(format=form))
    assert all(takes(grammar, text) for text in good)
    assert not any(takes(grammar, text) for text in bad)
    with_tools = answer_grammar(TOOLS, AnswerRules(format=form))
    assert all(takes(with_tools, text) for text in [*good, *CALLS])
    assert not any(takes(with_tools, text) for text in bad)


def test_an_answer_without_rules_has_no_grammar() -> None:
    assert answer_grammar([], AnswerRules()) is None


def test_optional_arguments_come_in_the_declared_order() -> None:
    properties = {"a": {"type": "integer"}, "b": {"type": "integer"}, "c": {"type": "integer"}}
    declared = tool("f", properties)
    declared["function"]["parameters"]["required"] = ["c"]
    grammar = answer_grammar([declared], AnswerRules())
    assert takes(grammar, f'f\n{{"a": 1, "c": 3}}{OBSERVATION}')
    assert takes(grammar, f'f\n{{"c": 3}}{OBSERVATION}')
    assert not takes(grammar, f'f\n{{"c": 3, "a": 1}}{OBSERVATION}')


NO_ARGUMENTS: list[Any] = [
    None,
    {},
    {"type": "object"},
    {"type": "object", "$schema": "http://json-schema.org/draft-07/schema#", "title": "f", "description": "none"},
    {"type": "object", "required": [], "$defs": {"a": {}}},
    {"type": "object", "properties": None, "additionalProperties": None},
    {"type": "object", "properties": []},
    {"type": "object", "properties": {}, "additionalProperties": False},
]


@pytest.mark.parametrize("parameters", NO_ARGUMENTS, ids=repr)
def test_functions_without_declared_parameters_take_none(parameters: Any) -> None:
    grammar = one_function(parameters)
    assert grammar.exact
    assert takes(grammar, "f\n{}" + OBSERVATION)
    assert not takes(grammar, 'f\n{"city": "A"}' + OBSERVATION)


@pytest.mark.parametrize(
    "more",
    [
        {"additionalProperties": True},
        {"additionalProperties": {"type": "string"}},
        {"patternProperties": {"^c": {}}},
        {"minProperties": 1},
        {"anyOf": [{"required": ["city"]}, {"required": ["town"]}]},
    ],
    ids=repr,
)
def test_a_schema_that_speaks_of_other_arguments_stays_open(more: dict[str, Any]) -> None:
    assert takes(one_function({"type": "object", **more}), 'f\n{"city": "A"}' + OBSERVATION)


def one_function(parameters: Any, **more: Any) -> AnswerGrammar:
    function = {"name": "f"} if parameters is None else {"name": "f", "parameters": parameters}
    grammar = answer_grammar([{"type": "function", "function": function | more}], AnswerRules())
    assert grammar is not None
    return grammar


UNDECLARED: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "required": (
        {"properties": {"city": {"type": "string"}}, "required": ["city", "country"]},
        ['{"city": "A", "country": [1]}', '{"city": "A", "country": "B"}'],
        ['{"city": "A"}', '{"city": "A", "country": 1, "other": 1}'],
    ),
    "required alone": ({"properties": {}, "required": ["a", "b"]}, ['{"a": 1, "b": {}}'], ['{"a": 1}', "{}"]),
    "required without properties": ({"required": ["a"]}, ['{"a": 1}'], ["{}", '{"a": 1, "b": 1}']),
    "demanded by another": (
        {"properties": {"a": {"type": "integer"}}, "dependentRequired": {"a": ["b"]}},
        ["{}", '{"a": 1, "b": "x"}'],
        ['{"c": 1}'],
    ),
    "required in an arm": (
        {"properties": {"a": {"type": "integer"}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        ['{"a": 1}', '{"b": 1}'],
        ["{}"],
    ),
    "required if": (
        {"properties": {"a": {"type": "integer"}}, "if": {"required": ["a"]}, "then": {"required": ["b"]}},
        ['{"a": 1, "b": 1}', "{}"],
        [],
    ),
    "required of all": (
        {"properties": {"a": {"type": "integer"}}, "allOf": [{"required": ["b"]}]},
        ['{"a": 1, "b": 1}'],
        ["{}"],
    ),
    "required in what is referred to": (
        {"properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "object", "required": ["y"]}}},
        ['{"a": {"y": 1}}', "{}"],
        ['{"a": {}}'],
    ),
    "required below": (
        {"properties": {"a": {"type": "object", "properties": {"x": {}}, "required": ["y"]}}},
        ['{"a": {"x": 1, "y": 1}}', '{"a": {"y": 1}}'],
        ['{"a": {"x": 1}}'],
    ),
    "more than are declared": ({"properties": {"a": {}}, "minProperties": 2}, ['{"a": 1, "b": 1}'], []),
}


@pytest.mark.parametrize("strict", [False, None])
@pytest.mark.parametrize(("parameters", "good", "bad"), UNDECLARED.values(), ids=UNDECLARED)
def test_a_required_undeclared_name_is_an_argument(
    parameters: dict[str, Any], good: list[str], bad: list[str], strict: bool | None
) -> None:
    grammar = one_function({"type": "object", **parameters}, strict=strict)
    for arguments in good:
        assert takes(grammar, f"f\n{arguments}{OBSERVATION}"), arguments
        assert grammar.arguments["f"].problem(json.loads(arguments)) is None
    assert [arguments for arguments in bad if takes(grammar, f"f\n{arguments}{OBSERVATION}")] == []


def test_strict_enforces_a_required_undeclared_name() -> None:
    assert one_function(UNDECLARED["required"][0], strict=True).exact


@pytest.mark.parametrize("choice", [AutoChoice(), RequiredChoice(), NamedChoice("f")], ids=str)
def test_a_function_that_cannot_be_called_is_refused_by_name(choice: Any) -> None:
    closed = {"type": "object", "properties": {}, "required": ["country"], "additionalProperties": False}
    tools = [tool("g"), {"type": "function", "function": {"name": "f", "parameters": closed}}]
    with pytest.raises(RequestError, match="f: no value fits this schema: 'country' is required") as caught:
        answer_grammar(tools, AnswerRules(choice))
    assert caught.value.field == "tools[1].function.parameters"


@pytest.mark.parametrize(
    ("parameters", "path"),
    [({"type": "objekt"}, "/type"), ({"properties": 5}, "/properties"), ({"required": "x"}, "/required")],
)
def test_parameters_that_are_no_schema_are_refused(parameters: Any, path: str) -> None:
    with pytest.raises(RequestError, match="f: ") as caught:
        one_function(parameters)
    assert caught.value.field == f"tools[0].function.parameters{path}"


def test_names_are_taken_literally() -> None:
    for name in ("a+b", "f(x)", "a/b", 'say "hi"', "ends\\", "函数。"):
        assert takes(answer_grammar([tool(name)], AnswerRules()), name + "\n{}" + OBSERVATION)
        assert takes(
            answer_grammar([tool(name)], AnswerRules(), starts_in_thought=True), f"</think>{name}\n{{}}{OBSERVATION}"
        )


def test_a_keyword_beyond_grammars_is_named() -> None:
    grammar = answer_grammar([tool("f", {"x": {"not": {"const": 1}}})], AnswerRules())
    assert grammar is not None
    assert (grammar.exact, grammar.unenforced) == (False, "tools[0].function.parameters/properties/x/not")


def test_openai_options_are_read() -> None:
    assert rules({}) == AnswerRules()
    assert rules({"tool_choice": "required", "parallel_tool_calls": False}) == AnswerRules(
        RequiredChoice(), parallel=False
    )
    assert tool_choice({"type": "function", "function": {"name": "f"}}) == NamedChoice("f")
    assert tool_choice("auto") == tool_choice(None) == AutoChoice()
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True}}
    assert response_format(schema) == SchemaFormat({"type": "object"}, strict=True)
    assert response_format({"type": "json_object"}) == SchemaFormat({"type": "object"})
    assert response_format({"type": "choice", "choices": ["a"]}) == ChoiceFormat(("a",))


@pytest.mark.parametrize("value", ["always", 3, {"type": "function"}, {"function": {}}], ids=repr)
def test_unknown_choices_are_refused(value: Any) -> None:
    with pytest.raises(RequestError, match="tool_choice"):
        tool_choice(value)


@pytest.mark.parametrize("value", [3, {}, {"type": "json_schema"}, {"type": "regex"}, {"type": "xml"}], ids=repr)
def test_unknown_formats_are_refused(value: Any) -> None:
    with pytest.raises(RequestError, match="response_format"):
        response_format(value)


@pytest.mark.parametrize("kind", ["dict", None, "string", ["object", "null"]])
def test_the_arguments_of_a_function_are_an_object_whatever_its_schema_says(kind: object) -> None:
    function = {"name": "f", "parameters": {"type": kind, "properties": {"a": {"type": "integer"}}}}
    grammar = answer_grammar([{"type": "function", "function": function}], rules({}))
    assert grammar is not None
    assert grammar.arguments["f"].problem({"a": 1}) is None
    assert all(grammar.arguments["f"].problem(value) for value in ("x", 1, None))
