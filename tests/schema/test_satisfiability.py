"""A schema that no value fits is refused; inside a schema it is left out, and the rest is fully enforced."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from llguidance import LLMatcher

from glm_gguf.errors import RequestError
from glm_gguf.schema.grammar_share import CompiledSchema, compile_schema
from glm_gguf.schema.pattern_search import byte_tokenizer
from glm_gguf.schema.satisfiability import possible

NOTHING = {"not": {}}
EMPTY: dict[str, Any] = {
    "not everything": NOTHING,
    "not everything, with words": {"not": {"description": "all"}, "title": "none"},
    "not any of all": {"not": {"anyOf": [{"type": "string"}, {"properties": {"a": {}}}]}},
    "not any type": {"not": {"type": ["null", "boolean", "object", "array", "number", "string"]}},
    "false": False,
    "no values": {"enum": []},
    "no arms": {"anyOf": []},
    "a value of another type": {"type": "string", "enum": [1]},
    "a value that is refused": {"const": 1, "not": {"enum": [1, 2]}},
    "two values": {"const": 1, "enum": [2, True]},
    "values beside a pattern": {"enum": ["a", "b"], "pattern": "^c"},
    "crossed bounds": {"type": "integer", "minimum": 5, "maximum": 1},
    "no whole number between": {"type": "integer", "minimum": 1.2, "maximum": 1.8},
    "no multiple between": {"type": "number", "exclusiveMinimum": 0, "maximum": 9, "multipleOf": 10},
    "crossed lengths": {"type": "string", "minLength": 5, "maxLength": 1},
    "items of nothing": {"type": "array", "items": NOTHING, "minItems": 1},
    "too few values for its items": {"type": "array", "items": {"enum": [1, 2]}, "uniqueItems": True, "minItems": 3},
    "it contains nothing": {"type": "array", "contains": {"enum": []}},
    "a required property of nothing": {"type": "object", "properties": {"a": NOTHING}, "required": ["a"]},
    "a required property that may not be": {
        "type": "object",
        "properties": {"b": {}},
        "required": ["a"],
        "additionalProperties": False,
    },
    "a demanded property that may not be": {
        "type": "object",
        "properties": {"a": {}},
        "required": ["a"],
        "dependentRequired": {"a": ["b"]},
        "additionalProperties": False,
    },
    "a property whose schema cannot be": {"type": "object", "required": ["a"], "dependentSchemas": {"a": {"enum": []}}},
    "a required name that no pattern takes": {
        "type": "object",
        "patternProperties": {"^a": {}},
        "required": ["b"],
        "additionalProperties": False,
    },
    "a required name that is too long": {"type": "object", "required": ["abc"], "propertyNames": {"maxLength": 2}},
    "more properties than there are": {
        "type": "object",
        "properties": {"a": {}, "b": NOTHING},
        "additionalProperties": False,
        "minProperties": 2,
    },
    "two types": {"allOf": [{"type": "string"}, {"type": "integer"}]},
    "a property of two types": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            {"properties": {"a": {"type": "integer"}}},
        ]
    },
    "only empty arms": {"anyOf": [NOTHING, {"enum": []}, False]},
    "arms of other types": {"type": "string", "anyOf": [{"type": "integer"}, {"type": "object"}]},
    "one of two that are the same": {"oneOf": [{"type": "string"}, {"type": "string"}]},
    "always false": {"if": {}, "then": NOTHING},
    "never true": {"if": NOTHING, "else": False},
    "a definition of nothing": {"$ref": "#/$defs/none", "$defs": {"none": NOTHING}},
    "without end": {
        "$ref": "#/$defs/a",
        "$defs": {"a": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/a"}}},
    },
}
ALONE = {name: schema for name, schema in EMPTY.items() if "$ref" not in json.dumps(schema)}
A = {"enum": ["a"]}
WITH_B = {"properties": {"b": {"type": "integer"}}, "type": "object"}


def takes(compiled: CompiledSchema, value: Any) -> bool:
    matcher = LLMatcher(byte_tokenizer(), LLMatcher.grammar_from_json_schema(compiled.grammar), log_level=0)
    written = list(json.dumps(value).encode())
    return matcher.try_consume_tokens(written) == len(written) and matcher.is_accepting()


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("schema", EMPTY.values(), ids=EMPTY)
def test_a_schema_that_nothing_fits_is_refused(schema: Any, strict: bool) -> None:
    with pytest.raises(RequestError, match="no value fits this schema"):
        compile_schema(schema, strict=strict)


def inside(empty: Any) -> dict[str, tuple[Any, list[Any], list[Any]]]:
    """Places of a schema that no value fits, with values that fit around it and values that do not."""
    return {
        "anyOf": ({"anyOf": [empty, A]}, ["a"], ["b", 1]),
        "oneOf": ({"oneOf": [A, empty]}, ["a"], ["b", 1]),
        "anyOf in a property": (
            {"type": "object", "properties": {"p": {"anyOf": [empty, A]}}, "required": ["p"]},
            [{"p": "a"}],
            [{"p": "b"}, {}],
        ),
        "a property": (
            {"type": "object", "properties": {"p": empty, "b": {"type": "integer"}}, "required": ["b"]},
            [{"b": 1}],
            [{"p": 1, "b": 1}, {"p": "a", "b": 1}, {"b": "x"}, {}],
        ),
        "items": ({"type": "array", "items": empty}, [[]], [[1], ["a"]]),
        "an item": ({"type": "array", "prefixItems": [{"type": "integer"}, empty]}, [[], [1]], [[1, 2], ["a"]]),
        "other properties": ({**WITH_B, "additionalProperties": empty}, [{}, {"b": 1}], [{"b": "x"}, {"c": 1}]),
        "named by a pattern": ({**WITH_B, "patternProperties": {"^x": empty}}, [{"b": 1}, {"c": 1}], [{"xy": 1}]),
        "not": ({"not": empty, "type": "string"}, ["a"], [1]),
        "if": ({"if": empty, "then": {"type": "integer"}, "else": {"type": "string"}}, ["a"], [1]),
        "an arm of an arm": ({"anyOf": [{"anyOf": [empty, {"allOf": [empty]}]}, A]}, ["a"], ["b"]),
    }


@pytest.mark.parametrize("place", inside(False))
@pytest.mark.parametrize("empty", ALONE.values(), ids=ALONE)
def test_unsatisfiable_schemas_are_left_out_and_the_rest_enforced(empty: Any, place: str) -> None:
    schema, valid, invalid = inside(empty)[place]
    compiled = compile_schema(schema, strict=True)
    assert compiled.exact
    assert all(takes(compiled, value) and compiled.problem(value) is None for value in valid)
    assert not any(takes(compiled, value) for value in invalid)
    assert all(compiled.problem(value) for value in invalid)


def test_a_definition_that_nothing_fits_is_no_arm() -> None:
    schema = {"$defs": {"none": NOTHING, "a": A}, "anyOf": [{"$ref": "#/$defs/none"}, {"$ref": "#/$defs/a"}]}
    compiled = compile_schema(schema, strict=True)
    assert takes(compiled, "a")
    assert not takes(compiled, "b")


LARGE: dict[str, Any] = {
    "arms beside many": {"allOf": [{"anyOf": [{"required": [f"a{i}{j}"]} for j in range(3)]} for i in range(1500)]},
    "names and patterns": {
        "required": [f"a{i}" for i in range(2000)],
        "patternProperties": {f"b{i}$": {"type": "integer"} for i in range(1000)},
    },
    "values beside many": {"enum": list(range(5000)), "allOf": [{"not": {"const": -i}} for i in range(3000)]},
    "demands": {
        "required": ["n0"],
        "allOf": [{}] * 1000,
        "dependentRequired": {f"n{i}": [f"n{i + 1}"] for i in range(10_000)},
    },
    "deep in definitions": {
        "$ref": "#/$defs/d0",
        "$defs": {
            f"d{i}": {"type": "object", "required": ["a"], "properties": {"a": {"$ref": f"#/$defs/d{i + 1}"}}}
            for i in range(2000)
        }
        | {"d2000": {}},
    },
    "arms within arms": {
        "$ref": "#/$defs/d0",
        "$defs": {
            f"d{i}": {
                "type": "object",
                "required": ["a", "b"],
                "properties": {
                    key: {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}, {"$ref": f"#/$defs/d{i + 2}"}]} for key in "ab"
                },
            }
            for i in range(30)
        }
        | {"d30": False, "d31": False},
    },
}


@pytest.mark.parametrize("schema", LARGE.values(), ids=LARGE)
def test_a_search_that_takes_too_long_is_left_to_the_check(schema: Any) -> None:
    start = time.process_time()
    possible(schema)
    assert time.process_time() - start < 5


SCALARS = st.sampled_from([None, True, False, 0, 1, 2, 1.5, "", "a", "ab"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=5,
)
TYPES = st.sampled_from(["null", "boolean", "object", "array", "number", "string", "integer"])
NAMES = st.sampled_from("abc")
SIMPLE = {
    "type": TYPES | st.lists(TYPES, min_size=1, max_size=2, unique=True),
    "enum": st.lists(SCALARS, max_size=2),
    "const": VALUES,
    "minimum": st.integers(0, 2),
    "exclusiveMaximum": st.integers(0, 2),
    "multipleOf": st.sampled_from([1, 2, 0.5]),
    "minLength": st.integers(0, 2),
    "maxLength": st.integers(0, 2),
    "pattern": st.sampled_from(["^a", "b$"]),
    "minItems": st.integers(0, 2),
    "maxItems": st.integers(0, 2),
    "uniqueItems": st.booleans(),
    "required": st.lists(NAMES, max_size=2),
    "minProperties": st.integers(0, 2),
    "maxProperties": st.integers(0, 2),
    "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=2), max_size=1),
}


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    arms, named = st.lists(inner, min_size=1, max_size=2), st.dictionaries(NAMES, inner, max_size=2)
    several = dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), arms)
    one = ("not", "if", "then", "else", "items", "additionalProperties", "contains", "propertyNames")
    mapped = {
        "properties": named,
        "dependentSchemas": named,
        "patternProperties": st.dictionaries(st.just("^a"), inner),
    }
    keywords: dict[str, st.SearchStrategy[Any]] = {**SIMPLE, **several, **dict.fromkeys(one, inner), **mapped}
    return some(keywords)


def some(keywords: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Up to three keywords."""
    names = st.lists(st.sampled_from(sorted(keywords)), max_size=3, unique=True)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({name: keywords[name] for name in chosen}))


SCHEMAS = st.recursive(st.booleans() | st.just(NOTHING) | some(SIMPLE), nested, max_leaves=6)


@settings(max_examples=400, deadline=None)
@given(SCHEMAS, st.lists(VALUES, min_size=8, max_size=12))
def test_nothing_that_fits_is_taken_for_nothing(schema: Any, values: list[Any]) -> None:
    theirs = Draft202012Validator(schema)
    fitting = [theirs.is_valid(value) for value in values]
    found = possible(schema)
    assert found.why_not is None or not any(fitting)
    left = Draft202012Validator(found.schema)
    assert [left.is_valid(value) for value in values] == fitting
