"""Grammars of schemas accept valid values; the check refuses the invalid ones that no grammar prevents."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import Any

import pytest
from llguidance import LLMatcher

from glm_gguf.errors import RequestError
from glm_gguf.schema import grammar_share as module
from glm_gguf.schema import validator
from glm_gguf.schema.grammar_share import CompiledSchema, TextCache, compile_schema
from glm_gguf.schema.pattern_search import byte_tokenizer


def takes(compiled: CompiledSchema, text: str) -> bool:
    """Feed a text to the grammar."""
    grammar = LLMatcher.grammar_from_json_schema(compiled.grammar)
    matcher = LLMatcher(byte_tokenizer(), grammar, log_level=0)
    written = list(text.encode())
    return matcher.try_consume_tokens(written) == len(written) and matcher.is_accepting()


def accepts(compiled: CompiledSchema, value: Any) -> bool:
    return takes(compiled, json.dumps(value, ensure_ascii=False)) and compiled.problem(value) is None


PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "tags": {"type": "array"}},
    "required": ["age"],
}
TREE = {
    "$defs": {"node": {"type": "object", "properties": {"v": {"type": "integer"}, "next": {"$ref": "#/$defs/node"}}}},
    "$ref": "#/$defs/node",
}
OLD = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "definitions": {"a": {"type": "string"}},
    "properties": {"x": {"$ref": "#/definitions/a", "minLength": 5}},
}
PAIR = {"type": "object", "properties": {"a": {}, "b": {}}, "minProperties": 2}
EXACT: dict[str, tuple[Any, list[Any], list[Any]]] = {
    "any value": (True, [1, "x", None, [1, {}]], []),
    "declared order": (PERSON, [{"name": "x", "age": 3}, {"age": 3, "tags": [1]}], [{"name": "x"}]),
    "enum": ({"enum": ["a", 1, None, {"b": 2}]}, ["a", 1, None, {"b": 2}], ["b", 2]),
    "const null": ({"const": None}, [None], [0]),
    "anyOf": ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, ["a", 1], [1.5, []]),
    "recursion": (TREE, [{"v": 1, "next": {"next": {"v": 2}}}], [{"v": "x"}]),
    "old exclusive bounds": ({"type": "integer", "minimum": 3, "exclusiveMinimum": True}, [4], [3]),
    "type any": ({"type": "any"}, [1, "x"], []),
    "a draft 3 required": ({"type": "object", "properties": {"a": {"required": True}}}, [{"a": 1}, {}], [1]),
    "an unknown format": ({"type": "string", "format": "colour"}, ["x"], [1]),
    "a format": ({"type": "string", "format": "date"}, ["2025-04-14"], ["14.4.2025"]),
    "a pattern": ({"type": "string", "pattern": "^[a-z]+$"}, ["abc"], ["ABC"]),
    "annotations": ({"title": "t", "description": "d", "default": 1, "examples": [1], "type": "integer"}, [1], ["x"]),
    "a property called like a keyword": ({"properties": {"type": {"const": 1}}}, [{"type": 1}], [{"type": "x"}]),
    "multipleOf": ({"type": "integer", "multipleOf": 5}, [10], [11]),
    "a reference beside keywords in draft 7": (
        OLD,
        [{"x": "a"}],
        [{"x": 1}],
    ),
}  # fmt: skip
EXACT["no items but additional ones"] = ({"items": [], "additionalItems": {"type": "integer"}}, [[1]], [["x"]])
OLDEST = "http://json-schema.org/draft-03/schema#"
EXACT |= {
    "dependentRequired": (
        {"dependentRequired": {"a": ["b"]}},
        [{"a": 1, "b": 2}, {}, {"b": 1}, [1]],
        [{"a": 1}, {"a": 1, "c": 1}],
    ),
    "demands of demands": (
        {
            "type": "object",
            "properties": {"a": {}, "b": {}, "c": {}},
            "required": ["a"],
            "dependentRequired": {"a": ["b"], "b": ["c"]},
            "additionalProperties": False,
        },
        [{"a": 1, "b": 1, "c": 1}],
        [{"a": 1}, {"a": 1, "b": 1}],
    ),
    "dependentSchemas": (
        {
            "type": "object",
            "properties": {"card": {"type": "integer"}},
            "dependentSchemas": {"card": {"properties": {"address": {"type": "string"}}, "required": ["address"]}},
        },
        [{"card": 1, "address": "x"}, {}, {"other": 3}],
        [{"card": 1}, {"card": 1, "address": 3}],
    ),
    "dependencies": (
        {"$schema": "http://json-schema.org/draft-07/schema#", "dependencies": {"a": ["b"], "c": {"required": ["d"]}}},
        [{"a": 1, "b": 1}, {}, {"c": 1, "d": 1}],
        [{"a": 1}, {"c": 1}],
    ),
    "keys of a list": (
        {"propertyNames": {"type": "string", "enum": ["a", "b"]}, "additionalProperties": {"type": "integer"}},
        [{}, {"a": 1}, {"a": 1, "b": 2}],
        [{"c": 1}, {"a": "x"}],
    ),
    "keys of a list beside properties": (
        {
            "properties": {"a": {"type": "string"}, "z": {}},
            "propertyNames": {"enum": ["a", "b"]},
            "additionalProperties": {"type": "integer"},
        },
        [{"a": "x"}, {"a": "x", "b": 2}],
        [{"z": 1}, {"a": 1}, {"b": "x"}, {"c": 1}],
    ),
    "keys with a meaning in patterns": (
        {"propertyNames": {"enum": ["a.b", "c|d", "(e"]}, "additionalProperties": {"type": "integer"}},
        [{"a.b": 1}, {"c|d": 1, "(e": 2}],
        [{"axb": 1}, {"c": 1}, {"e": 1}],
    ),
    "one key": (
        {"propertyNames": {"const": "a"}, "additionalProperties": True},
        [{}, {"a": [1]}],
        [{"b": 1}],
    ),
    "keys of a pattern": (
        {"propertyNames": {"pattern": "^[a-c]+$"}, "additionalProperties": {"type": "integer"}},
        [{}, {"ab": 1}, {"a": 1, "cc": 2}],
        [{"d": 1}, {"a": "x"}],
    ),
    "draft 3's required": (
        {"$schema": OLDEST, "properties": {"a": {"required": True, "type": "any"}, "b": {"type": "string"}}},
        [{"a": 1}, {"a": 1, "b": "x"}],
        [{}, {"b": "x"}, {"a": 1, "b": 2}],
    ),
    "draft 3's extends and divisibleBy": (
        {"$schema": OLDEST, "type": "integer", "extends": {"minimum": 3}, "divisibleBy": 2},
        [4],
        [2, 5, "x"],
    ),
    "draft 3's types": (
        {"$schema": OLDEST, "type": ["integer", {"type": "object", "properties": {"a": {"required": True}}}]},
        [1, {"a": 1}],
        ["x", {}],
    ),
}
CHECKED: dict[str, tuple[Any, list[Any], list[Any]]] = {
    "not": ({"not": {"type": "string"}}, [1], ["x"]),
    "if": ({"if": {"type": "string"}, "then": {"minLength": 2}}, ["ab", 1], ["a"]),
    "uniqueItems": ({"type": "array", "uniqueItems": True}, [[1, 2]], [[1, 1]]),
    "contains": ({"contains": {"const": 1}}, [[1, 2]], [[2]]),
    "oneOf": ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, [1.5], [1]),
    "propertyNames": ({"propertyNames": {"maxLength": 1}}, [{"a": 1}], [{"ab": 1}]),
    "many demands": (
        {"dependentRequired": {name: ["z"] for name in "abcde"}},
        [{"a": 1, "z": 2}, {}],
        [{"a": 1}, {"e": 1}],
    ),
    "minProperties": (PAIR, [{"a": 1, "b": 2}, {"a": 1, "c": 2}], [{"a": 1}]),
    "draft 3's disallow": (
        {"$schema": OLDEST, "disallow": ["string", {"type": "integer", "minimum": 3}], "dependencies": {"a": "b"}},
        [1, None, {"a": 1, "b": 1}],
        ["x", 4, {"a": 1}],
    ),
    "look-ahead": ({"type": "string", "pattern": "^(?!a)b?"}, ["b"], ["ab"]),
    "overlapping patterns": (
        {"patternProperties": {"^a": {"type": "integer"}, "b$": {"minimum": 3}}, "additionalProperties": False},
        [{"ab": 3}, {"a": 1}],
        [{"ab": 1}, {"c": 1}],
    ),
    "cents": ({"items": {"multipleOf": 0.01}, "uniqueItems": True}, [[19.99, 0.07, 3]], [[0.015]]),
    "a format that only the check knows": ({"type": "string", "format": "regex"}, ["a+"], ["("]),
}  # fmt: skip


@pytest.mark.parametrize(("schema", "valid", "invalid"), EXACT.values(), ids=EXACT)
def test_a_grammar_enforces_it_alone(schema: Any, valid: list[Any], invalid: list[Any]) -> None:
    compiled = compile_schema(schema, strict=True)
    assert compiled.exact
    assert all(accepts(compiled, value) for value in valid)
    assert not any(takes(compiled, json.dumps(value)) for value in invalid)


@pytest.mark.parametrize(("schema", "valid", "invalid"), CHECKED.values(), ids=CHECKED)
def test_the_check_refuses_what_the_grammar_takes(schema: Any, valid: list[Any], invalid: list[Any]) -> None:
    compiled = compile_schema(schema)
    assert not compiled.exact
    assert all(accepts(compiled, value) for value in valid)
    assert all(compiled.problem(value) for value in invalid)


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"properties": {"a": {"items": {"not": {"const": 1}}}}}, "schema/properties/a/items/not"),
        ({"anyOf": [{}, {"uniqueItems": True}]}, "schema/anyOf/1/uniqueItems"),
        ({"properties": {"a/b~c": {"pattern": "(?=x)"}}}, "schema/properties/a~1b~0c/pattern"),
        ({"type": "string", "format": "regex"}, "schema/format"),
        ({"properties": {"a": {"type": "float"}}}, "schema/properties/a/type"),
        ({"items": {"minLength": -1}}, "schema/items/minLength"),
        ({"minimum": True}, "schema/minimum"),
        ({"multipleOf": 0}, "schema/multipleOf"),
        ({"anyOf": [{"type": "string"}, "integer"]}, "schema/anyOf"),
        ({"properties": {"a": "string"}}, "schema/properties"),
        ({"required": ["a", 1]}, "schema/required"),
    ],
)
def test_strict_refuses_with_the_path(schema: Any, path: str) -> None:
    with pytest.raises(RequestError) as caught:
        compile_schema(schema, strict=True)
    assert caught.value.field == path


def test_separators_are_glms_own() -> None:
    compiled = compile_schema(PERSON)
    assert takes(compiled, '{"name": "x", "age": 3}')
    for text in ('{"name":"x","age":3}', '{ "age": 3}', '{"age": 3 }', '{\n"age": 3}', '{"age":  3}'):
        assert not takes(compiled, text)


PATIENCE = 5
"""Seconds of processor time; 2 on an idle machine."""


def nested(levels: int) -> Any:
    schema: Any = {"type": "string"}
    for _ in range(levels):
        schema = {"properties": {"a": schema}}
    return schema


HOSTILE = {
    "deep": nested(20_000),
    "ten megabytes": {"properties": {f"key{number}": {"description": "x" * 90} for number in range(90_000)}},
    "a huge enum": {"enum": [f"value {number}" for number in range(200_000)]},
    "nested repetition": {"type": "string", "pattern": "((((a{50}){50}){50}){50})"},
    "a huge pattern": {"type": "string", "pattern": "|".join(f"word{number}" for number in range(50_000))},
    "no end of items": {"type": "array", "minItems": 10**9},
    "no JSON": {"enum": [object()]},
    "keys that are no text": {"properties": {1: {}}},
    "half a surrogate pair": {"const": "\ud800"},
    "no number": {"minimum": float("inf")},
    "no end of schemas": {"anyOf": [{"items": {"items": {}}} for _ in range(4000)] * 2},
    "schemas of schemas": reduce(lambda inner, _: {"anyOf": [inner, inner]}, range(15), {}),
    "more schemas than are built": {
        "properties": {f"a{i}": {"properties": {f"b{j}": {"type": "string"} for j in range(40)}} for i in range(1400)}
    },
    "no end of names": {"required": [f"key{number}" for number in range(50_000)]},
}


@pytest.mark.parametrize("schema", HOSTILE.values(), ids=HOSTILE)
def test_hostile_schemas_are_refused_at_once(schema: Any) -> None:
    start = time.process_time()
    with pytest.raises(RequestError):
        compile_schema(schema)
    assert time.process_time() - start < PATIENCE


TWICE = {f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(30)}
COSTLY = {
    "references that double": TWICE | {"d30": {"type": "string"}},
    "choices multiplied": {
        "d0": {"allOf": [{"anyOf": [{"properties": {f"{i}{j}": {"const": j}}} for j in range(6)]} for i in range(12)]}
    },
    "a thousand patterns": {
        "d0": {"properties": {f"k{i}": {"type": "string", "pattern": f"^[a-z]{{{i % 50}}}x{i}$"} for i in range(1000)}}
    },
    "overlapping names": {"d0": {"patternProperties": {f"a{i}": {"type": "integer"} for i in range(500)}}},
    "definitions that nothing uses": {"d0": {}} | {f"unused{i}": {"items": {"items": {}}} for i in range(15_000)},
    "repetition": {"d0": {"type": "string", "pattern": "^.*(a|b).{5000}$"}},
    "a long name above many": {"d0": {"properties": {"k" * 1_000_000: {"anyOf": [{"type": "string"}] * 4900}}}},
}


@pytest.mark.parametrize("definitions", COSTLY.values(), ids=COSTLY)
def test_costly_schemas_are_compiled_in_time(definitions: Any) -> None:
    start = time.process_time()
    compile_schema({"$defs": definitions, "$ref": "#/$defs/d0"})
    assert time.process_time() - start < PATIENCE


DYNAMIC = {f"d{n}": {"$dynamicAnchor": f"d{n}", "allOf": [{"$dynamicRef": f"#d{n + 1}"}] * 2} for n in range(30)}
ENDLESS: dict[str, tuple[Any, Any]] = {
    "exponential references": ({"$defs": TWICE | {"d30": {"not": {}}}, "$ref": "#/$defs/d0"}, "a"),
    "exponential dynamic references": (
        {"$defs": DYNAMIC | {"d30": {"$dynamicAnchor": "d30"}}, "$ref": "#/$defs/d0"},
        "a",
    ),
    "what is unevaluated of what is unevaluated": (
        reduce(lambda inner, _: {"unevaluatedProperties": False, "allOf": [inner]}, range(40), {}),
        {},
    ),
    "a loop": ({"$ref": "#"}, "a"),
    "an exponential pattern": ({"type": "string", "pattern": "^(a+)+(?!b)$"}, "a" * 60 + "!"),
    "an exponential pattern of what is evaluated": (
        {"allOf": [{"patternProperties": {"^(a+)+$": True}}], "unevaluatedProperties": False},
        {"a" * 60 + "!": 1},
    ),
}


@pytest.mark.parametrize(("schema", "value"), ENDLESS.values(), ids=ENDLESS)
def test_a_check_that_would_not_end_is_refused(schema: Any, value: Any) -> None:
    start = time.process_time()
    with contextlib.suppress(RequestError):
        compile_schema(schema).check.problem(value)
    assert time.process_time() - start < PATIENCE


APPLYING: dict[str, Any] = {
    "allOf": {"allOf": [{"patternProperties": {"^\\p{L}+$": True}}]},
    "anyOf": {"anyOf": [{"patternProperties": {"^\\p{L}+$": {"type": "integer"}}}, {"required": ["none"]}]},
    "oneOf": {"oneOf": [{"properties": {"é": True}}, {"required": ["none"]}]},
    "if and then": {"if": {"required": ["é"]}, "then": {"properties": {"é": True}}},
    "if and else": {"if": {"required": ["none"]}, "else": {"properties": {"é": True}}},
    "dependentSchemas": {"dependentSchemas": {"é": {"additionalProperties": {"type": "integer"}}}},
    "$ref": {"$ref": "#/$defs/letters", "$defs": {"letters": {"patternProperties": {"^\\p{L}+$": True}}}},
    "nested": {"allOf": [{"unevaluatedProperties": {"type": "integer"}}]},
    "2019-09": {"$schema": "https://json-schema.org/draft/2019-09/schema", "allOf": [{"properties": {"é": True}}]},
}


@pytest.mark.parametrize("schema", APPLYING.values(), ids=APPLYING)
def test_properties_of_applied_schemas_are_evaluated(schema: Any) -> None:
    check = compile_schema({**schema, "unevaluatedProperties": False}).check
    assert check.problem({"é": 1}) is None
    assert check.problem({"é": 1, "other_1": "x"}) is not None


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef"])
@pytest.mark.parametrize("reference", ["http://localhost:1/x.json", "#/definitions/none", "other.json#/a", "#none"])
def test_a_reference_to_nowhere_is_refused_with_its_place(reference: str, keyword: str, strict: bool) -> None:
    schema = {"properties": {"a": {"$defs": {"b": {keyword: reference}}, "items": {"$ref": "#/properties/a/$defs/b"}}}}
    with pytest.raises(RequestError, match="has no target") as caught:
        compile_schema(schema, strict=strict)
    assert caught.value.field == f"schema/properties/a/$defs/b/{keyword}"


def many_properties(n_optional: int, n_required: int = 0) -> dict[str, Any]:
    """An object of so many properties, within another."""
    names = [f"p{number}" for number in range(n_optional + n_required)]
    inner = {"properties": {name: {"type": "string"} for name in names}, "required": names[n_optional:]}
    return {"properties": {"a": {"type": "object", **inner}}}


def test_more_optional_properties_than_llguidance_holds_are_refused_with_their_place() -> None:
    with pytest.raises(RequestError, match="4001 optional properties are too many; give up to 4000") as caught:
        compile_schema(many_properties(4001))
    assert caught.value.field == "schema/properties/a/properties"
    assert compile_schema(many_properties(1000, 3500)).exact


def test_a_definition_that_nothing_uses_may_lead_anywhere() -> None:
    compiled = compile_schema({"$defs": {"a": {"$ref": "gone.json"}, "b": "no schema"}, "type": "integer"}, strict=True)
    assert accepts(compiled, 1)


def test_threads_that_check_at_once_have_a_budget_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four threads check a value at once that needs most of the steps of one check."""
    monkeypatch.setattr(validator, "MOST_STEPS", 1000)
    compiled = compile_schema({"items": {"$ref": "#/$defs/a"}, "$defs": {"a": {"not": {"const": "x"}}}})
    value = next(list(range(n)) for n in range(1000, 0, -10) if settled(compiled, list(range(n))))
    assert len(value) >= 100
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: compiled.problem(value), range(40))) == [None] * 40


def settled(compiled: CompiledSchema, value: Any) -> bool:
    with contextlib.suppress(RequestError):
        return compiled.problem(value) is None
    return False


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Empty the cache, and count the schemas compiled from now on."""
    made: list[str] = []
    compile_anew = module._compile

    def counting(text: str, where: str) -> Any:
        made.append(where)
        return compile_anew(text, where)

    monkeypatch.setattr(module, "_compile", counting)
    monkeypatch.setattr(module, "_KEPT", TextCache(module.MOST_KEPT, module.OF_SCHEMA))
    return made


def test_a_schema_is_compiled_once_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    made = counted(monkeypatch)
    schemas = [{"type": "object", "properties": {f"a{i}": {"not": {"const": i}}}} for i in range(512)]
    for turn in range(2):
        places = [f"tools[{turn + index}]" for index in range(512)]
        found = [compile_schema(schema, field=place) for schema, place in zip(schemas, places, strict=True)]
        assert [one.unenforced for one in found] == [f"{at}/properties/a{i}/not" for i, at in enumerate(places)]
    assert len(made) == 512


def test_a_schema_that_strict_refuses_is_compiled_once_too(monkeypatch: pytest.MonkeyPatch) -> None:
    made = counted(monkeypatch)
    schema = {"not": {"const": 1}}
    for where in ("a", "b"):
        compile_schema(schema)
        with pytest.raises(RequestError) as caught:
            compile_schema(schema, strict=True, field=where)
        assert caught.value.field == f"{where}/not"
    assert len(made) == 1


def test_compiled_schemas_are_evicted_beyond_so_many_characters() -> None:
    cache: TextCache[int] = TextCache(10)
    for number, text in enumerate(("aaaa", "bbbb", "cccc")):
        cache.put(text, number)
    assert (cache.get("aaaa"), cache.get("bbbb"), cache.get("cccc")) == (None, 1, 2)
    cache.get("bbbb")
    cache.put("dd", 3)
    cache.put("dddd", 4)
    assert (cache.get("bbbb"), cache.get("cccc"), cache.get("dd"), cache.get("dddd")) == (1, None, 3, 4)


def test_many_short_schemas_are_evicted_too() -> None:
    cache: TextCache[int] = TextCache(100, of_value=20)
    for number in range(9):
        cache.put(str(number), number)
    assert [cache.get(str(number)) for number in range(9)] == [None] * 5 + [5, 6, 7, 8]


def test_records_of_records_do_not_multiply() -> None:
    record: dict[str, Any] = {"type": "integer"}
    for _ in range(6):
        names = [f"name{number}" for number in range(100)]
        record = {"type": "object", "propertyNames": {"enum": names}, "additionalProperties": record}
    compiled = compile_schema(record)
    assert len(compiled.grammar) < 2 * len(json.dumps(record))
    assert not takes(compiled, json.dumps({"name1": {"nome1": {}}}))


def test_names_that_must_be_texts_are_no_demand() -> None:
    record = {"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": {"type": "integer"}}
    compiled = compile_schema(record)
    assert compiled.unenforced is None
    assert accepts(compiled, {"a": 1})
    assert not accepts(compiled, {"a": "b"})


def _chained(count: int) -> dict[str, Any]:
    links = {f"d{i}": {"pattern": f"a{i}", "allOf": [{"$ref": f"#/$defs/d{i + 1}"}]} for i in range(count)}
    return {"$defs": {**links, f"d{count}": {"pattern": "z"}}, "$ref": "#/$defs/d0"}


CROWDED: dict[str, Callable[[int], dict[str, Any]]] = {
    "side by side": lambda count: {"type": "string", "allOf": [{"pattern": f"a{i}"} for i in range(count)]},
    "by reference": lambda count: {
        "$defs": {f"d{i}": {"pattern": f"a{i}"} for i in range(count)},
        "allOf": [{"$ref": f"#/$defs/d{i}"} for i in range(count)],
    },
    "in a chain of references": _chained,
    "of one property": lambda count: {
        "allOf": [{"type": "object", "properties": {"a": {"pattern": f"a{i}"}}} for i in range(count)]
    },
}


@pytest.mark.parametrize("count", [22, 60])
@pytest.mark.parametrize("schema", CROWDED.values(), ids=CROWDED.keys())
def test_many_patterns_of_one_text_are_left_to_the_check(schema: Callable[[int], dict[str, Any]], count: int) -> None:
    start = time.process_time()
    compiled = compile_schema(schema(count))
    assert time.process_time() - start < PATIENCE
    text = "".join(f"a{i}" for i in range(count)) + "z"
    fitting, astray = ({"a": text}, {"a": "a0"}) if "properties" in str(schema(1)) else (text, "a0")
    assert not compiled.exact
    assert compiled.problem(fitting) is None
    assert compiled.problem(astray) is not None


def test_patterns_of_several_properties_stay_in_the_grammar() -> None:
    schema = {"type": "object", "properties": {f"p{i}": {"type": "string", "pattern": "^a"} for i in range(30)}}
    assert compile_schema(schema).exact


def test_thousands_of_anchors_are_looked_up_in_time() -> None:
    anchors = {f"a{i}": {"$anchor": f"b{i}", "type": "string"} for i in range(3000)}
    start = time.process_time()
    compile_schema({"$defs": anchors, "anyOf": [{"$ref": f"#b{i}"} for i in range(3000)]})
    assert time.process_time() - start < PATIENCE


@pytest.mark.parametrize("sign", [1, -1])
def test_bounds_beyond_all_floats_are_bounds(sign: int) -> None:
    low, high = sorted((0, sign * 10**1200))
    assert compile_schema({"type": "integer", "minimum": low, "maximum": high}).problem(sign * 10**1200) is None
    with pytest.raises(RequestError, match="no number lies between"):
        compile_schema({"type": "integer", "minimum": high + 1, "maximum": low})


def test_thousands_of_schemas_in_a_row_do_not_end_the_process() -> None:
    links = {f"d{i}": {"type": "object", "properties": {"a": {"$ref": f"#/$defs/d{i + 1}"}}} for i in range(3000)}
    compiled = compile_schema({"$ref": "#/$defs/d0", "$defs": {**links, "d3000": {"type": "integer"}}})
    assert compiled.problem({"a": {"a": {}}}) is None
    assert compiled.problem({"a": {"a": 3}}) is not None


def test_a_chain_of_references_is_refused_by_name() -> None:
    links = {f"d{index}": {"$ref": f"#/$defs/d{index + 1}"} for index in range(399)}
    with pytest.raises(RequestError, match=r"schema/\$defs/d\d+: a chain of more than 100 references"):
        compile_schema({"$ref": "#/$defs/d0", "$defs": {"d399": {"type": "integer"}, **links}})


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        pytest.param({"$ref": "#"}, "schema", id="itself"),
        pytest.param({"allOf": [{"$ref": "#"}], "type": "object"}, "schema", id="beside a type"),
        pytest.param({"anyOf": [{"$ref": "#"}]}, "schema", id="the only arm"),
        pytest.param({"oneOf": [{"$ref": "#"}, {"type": "string"}]}, "schema", id="an arm of oneOf"),
        pytest.param({"not": {"$ref": "#"}}, "schema", id="not itself"),
        pytest.param({"if": {"$ref": "#"}, "then": {"type": "string"}}, "schema", id="a condition"),
        pytest.param(
            {"items": {"$ref": "#/$defs/a"}, "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
            r"schema/\$defs/[ab]",
            id="two definitions",
        ),
    ],
)
def test_a_schema_that_refers_to_itself_for_the_same_value_is_refused(schema: dict[str, Any], place: str) -> None:
    with pytest.raises(RequestError, match=f"^{place}: it refers to itself for the same value; refer to it for a part"):
        compile_schema(schema)


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"items": {"$ref": "#"}, "type": ["array", "string"]}, id="items"),
        pytest.param({"anyOf": [{"type": "string"}, {"$ref": "#"}]}, id="an arm of anyOf"),
        pytest.param({"properties": {"a": {"allOf": [{"$ref": "#"}]}}}, id="a property"),
    ],
)
def test_a_schema_may_refer_to_itself_for_a_part_of_the_value(schema: dict[str, Any]) -> None:
    assert accepts(compile_schema(schema), "x")


def test_a_check_that_goes_too_deep_says_so() -> None:
    links = {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}]} for i in range(900)}
    compiled = compile_schema({"$ref": "#/$defs/d0", "$defs": {**links, "d900": {"type": "integer"}}})
    with pytest.raises(RequestError, match="follows too many schemas in a row"):
        compiled.problem(3)


def test_a_check_that_goes_too_deep_among_references_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    links = {f"d{i}": {"not": {"not": {"$ref": f"#/$defs/d{i + 1}"}}} for i in range(900)}
    compiled = compile_schema({"$ref": "#/$defs/d0", "$defs": {**links, "d900": {"type": "integer"}}})
    for _ in range(20):
        with pytest.raises(RequestError, match="follows too many schemas in a row"):
            compiled.problem(3)
    assert "panicked" not in capfd.readouterr().err
