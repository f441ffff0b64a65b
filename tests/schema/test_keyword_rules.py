"""A wrong keyword value is refused with its place and the reason; harmless oddities of published tools work."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llguidance import LLMatcher

from glm_gguf.errors import RequestError
from glm_gguf.schema.grammar_share import compile_schema
from glm_gguf.schema.pattern_search import byte_tokenizer

REFUSED: dict[str, tuple[Any, str, str]] = {
    "a misspelt type": ({"type": "objekt"}, "/type", "'objekt' is not a type"),
    "a misspelt type in a list": ({"items": {"type": ["string", "nul"]}}, "/items/type", "not a type"),
    "a type that is no text": ({"type": 5}, "/type", "5 is not a type"),
    "no types": ({"type": []}, "/type", "not a type"),
    "properties that are a number": ({"properties": 5}, "/properties", "5 is not an object of schemas"),
    "a property that is a text": ({"properties": {"a": "string"}}, "/properties", "not an object of schemas"),
    "required that is a text": ({"required": "x"}, "/required", "'x' is not a list of names"),
    "required numbers": ({"required": [1]}, "/required", "not a list of names"),
    "a bound that is a text": ({"properties": {"a": {"minimum": "a"}}}, "/properties/a/minimum", "'a' is not a number"),
    "a bound that is true": ({"maximum": True}, "/maximum", "not a number"),
    "a length below 0": ({"minLength": -1}, "/minLength", "not a whole number"),
    "half an item": ({"maxItems": 1.5}, "/maxItems", "not a whole number"),
    "multiples of 0": ({"multipleOf": 0}, "/multipleOf", "not a number above 0"),
    "an enum that is an object": ({"enum": {}}, "/enum", "not a list of values"),
    "an arm that is a text": ({"anyOf": [{}, "integer"]}, "/anyOf", "not a list of schemas"),
    "arms that are an object": ({"oneOf": {"a": {}}}, "/oneOf", "not a list of schemas"),
    "items that are a text": ({"items": "string"}, "/items", "'string' is not a schema"),
    "a broken pattern": ({"anyOf": [{"pattern": "([a-z"}]}, "/anyOf/0/pattern", r"'\(\[a-z' is no regular expression"),
    "a pattern that is a number": ({"pattern": 5}, "/pattern", "5 is not a regular expression"),
    "a broken pattern of names": ({"patternProperties": {"*a": {}}}, "/patternProperties", "no regular expression"),
    "unique items that are a text": ({"uniqueItems": "yes"}, "/uniqueItems", "not true or false"),
    "a demand that is a number": ({"dependentRequired": {"a": 1}}, "/dependentRequired", "lists of names"),
    "a format that is a number": ({"format": 1}, "/format", "name of a format"),
    "a reference that is a number": ({"$ref": 1}, "/$ref", "not a reference"),
    "a reference that is no address": ({"$ref": "http://[x"}, "/$ref", "not a reference"),
    "a definition that is used": ({"$ref": "#/$defs/a", "$defs": {"a": {"not": 5}}}, "/$defs/a/not", "not a schema"),
}


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(("schema", "path", "why"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_keyword_value_is_refused(schema: Any, path: str, why: str, strict: bool) -> None:
    with pytest.raises(RequestError, match=why) as caught:
        compile_schema(schema, strict=strict)
    assert caught.value.field == f"schema{path}"


ODD: dict[str, tuple[Any, list[Any], list[Any]]] = {
    "a misspelt draft": ({"$schema": "http://json-schema.org/drafts-7/schema", "type": "integer"}, [1], ["x"]),
    "an unknown format": ({"type": "string", "format": "int64"}, ["x"], [1]),
    "words of others": (
        {"type": "string", "nullable": True, "x-order": 3, "xml": {"name": 1}, "optional": 5, "id": 7, "default": None},
        ["x"],
        [1],
    ),
    "draft 3's required": ({"properties": {"a": {"type": "integer", "required": True}}}, [{"a": 1}, {}], [{"a": "x"}]),
    "annotations of any form": ({"description": 5, "title": {}, "examples": "x", "type": "integer"}, [1], ["x"]),
    "null for what is left out": (
        {"type": "integer", "minimum": None, "enum": None, "pattern": None, "items": None, "required": None},
        [1],
        ["x"],
    ),
    "PHP's empty objects": ({"type": "object", "properties": [], "additionalProperties": []}, [{}, {"a": 1}], [1]),
    "PHP's empty schemas": ({"properties": {"a": [], "b": {"type": "integer"}}}, [{"a": [1], "b": 1}], [{"b": "x"}]),
    "any": ({"properties": {"a": {"type": "any"}, "b": {"type": ["any"]}}}, [{"a": 1, "b": "x"}], []),
    "null in a list of types": ({"type": ["string", None]}, ["x", None], [1]),
    "capitals": ({"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}, [{"a": "x"}], [{"a": 1}, 1]),
    "Python's types": (
        {
            "type": "dict",
            "properties": {
                "a": {"type": "float"},
                "b": {"type": "tuple", "items": {"type": "int"}},
                "c": {"type": "str"},
            },
        },
        [{"a": 1.5, "b": [1], "c": "x"}, {"a": 1}],
        [{"a": "x"}, {"b": ["x"]}, {"c": 1}, 1],
    ),
    "a name for a list of names": ({"dependencies": {"a": "b"}}, [{"a": 1, "b": 1}, {}], [{"a": 1}]),
    "nothing in allOf": ({"type": "integer", "allOf": []}, [1], ["x"]),
}


@pytest.mark.parametrize(("schema", "valid", "invalid"), ODD.values(), ids=ODD)
def test_harmless_oddities_are_understood(schema: Any, valid: list[Any], invalid: list[Any]) -> None:
    compiled = compile_schema(schema)
    matcher = LLMatcher(byte_tokenizer(), LLMatcher.grammar_from_json_schema(compiled.grammar), log_level=0)
    for value in valid:
        written = list(json.dumps(value).encode())
        taken = matcher.deep_copy()
        assert taken.try_consume_tokens(written) == len(written)
        assert taken.is_accepting()
        assert compiled.problem(value) is None
    assert all(compiled.problem(value) for value in invalid)


PATTERNS = (
    *(r"^[\w-.]+$", r"^[\w.-]+@[\w.-]+$", r"\/\-\_\#\:\@\!", "^(?<year>[0-9]{4})$", "a{", "a{,5}", "x]", "}", r"\a"),
    *(r"(?i)abc", r"^\p{L}+$", r"[\s\S]*", r"^(?!x)y", r"(?<!a)b", r"\u0041", "", "^$", "|", r"[^]", r"\$\{.*\}"),
    *(r"^#[0-9A-Fa-f]{6}$", r"^(\*|[0-9]+)$", "^[^/\\\\]+$", r"^\S+$", r"[]", r"\cA", r"\0", r"(?:)", r"[a-\d]"),
)
"""Regular expressions of ECMA-262, most of them from published schemas."""


@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_pattern_of_published_schemas_is_refused(pattern: str) -> None:
    compile_schema({"type": "string", "pattern": pattern})
    compile_schema({"patternProperties": {pattern: {"type": "integer"}}})
