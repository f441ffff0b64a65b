"""References are followed by every rule of their draft; an error names one without a target."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from jsonschema.validators import validator_for
from llguidance import LLMatcher

from glm_gguf.errors import RequestError
from glm_gguf.schema.draft import LATEST
from glm_gguf.schema.grammar_share import compile_schema, limits
from glm_gguf.schema.pattern_search import byte_tokenizer
from glm_gguf.schema.references import self_contained

DRAFT4 = "http://json-schema.org/draft-04/schema#"
DRAFT7 = "http://json-schema.org/draft-07/schema#"
TEXT = {"type": "string"}
SCHEMAS: dict[str, dict[str, Any]] = {
    "pointer": {"items": {"$ref": "#/definitions/a"}, "definitions": {"a": TEXT}},
    "a name with a blank": {"items": {"$ref": "#/definitions/a b"}, "definitions": {"a b": TEXT}},
    "an escaped name": {"items": {"$ref": "#/definitions/a~1b%25"}, "definitions": {"a/b%": TEXT}},
    "outside of definitions": {"items": {"$ref": "#/components/schemas/a"}, "components": {"schemas": {"a": TEXT}}},
    "anchor": {"items": {"$ref": "#a"}, "$defs": {"x": {"$anchor": "a", **TEXT}}},
    "draft 4's anchor": {"$schema": DRAFT4, "items": {"$ref": "#a"}, "definitions": {"x": {"id": "#a", **TEXT}}},
    "relative to an identifier": {
        "$id": "http://example.com/root.json",
        "items": {"$ref": "a.json#/$defs/b"},
        "$defs": {"a": {"$id": "a.json", "$defs": {"b": TEXT}}},
    },
    "draft 4's identifier": {
        "$schema": DRAFT4,
        "id": "http://example.com/root.json",
        "items": {"$ref": "root.json#/definitions/a"},
        "definitions": {"a": TEXT},
    },
    "a reference to a reference": {
        "items": {"$ref": "#/$defs/a"},
        "$defs": {"a": {"$ref": "#/$defs/b"}, "b": TEXT},
    },
    "beside keywords in draft 7": {
        "$schema": DRAFT7,
        "items": {"$ref": "#/definitions/a", "maxLength": 0},
        "definitions": {"a": TEXT},
    },
    "a property called $ref": {"items": {**TEXT, "not": {"properties": {"$ref": {"type": "integer"}}, "minLength": 9}}},
}
VALUES: tuple[Any, ...] = ([], ["x"], [1], [["x"]], ["x", None])


def takes(grammar: str, value: Any) -> bool:
    matcher = LLMatcher(byte_tokenizer(), LLMatcher.grammar_from_json_schema(grammar), log_level=0, limits=limits())
    written = list(json.dumps(value).encode())
    return matcher.try_consume_tokens(written) == len(written) and matcher.is_accepting()


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_grammar_and_check_follow_what_jsonschema_follows(schema: dict[str, Any]) -> None:
    compiled = compile_schema(schema)
    theirs = validator_for(schema, default=jsonschema.Draft202012Validator)(schema)
    for value in VALUES:
        valid = theirs.is_valid(value)
        assert (takes(compiled.grammar, value) and compiled.problem(value) is None) is valid, value
        assert compiled.problem(value) is None or not valid


def test_a_reference_leads_through_a_list_of_items() -> None:
    compiled = compile_schema(
        {"items": [{"$defs": {"a": TEXT}, "$ref": "#/items/0/$defs/a"}, {"$ref": "#b"}, {"$anchor": "b", **TEXT}]},
        strict=True,
    )
    assert takes(compiled.grammar, ["x", "y"])
    assert not takes(compiled.grammar, ["x", 1])
    assert compiled.problem([1]) is not None


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"$schema": DRAFT4, "properties": {"a": {"$ref": "#"}, "b": True}}, id="a Boolean in draft 4"),
        pytest.param({"items": [{"$ref": "#"}], "not": {"prefixItems": [{}]}}, id="two forms of items"),
    ],
)
def test_references_among_keywords_of_two_drafts_are_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=r"^schema: .* is foreign to its draft.*; use the keywords of one draft"):
        compile_schema(schema)


def test_a_published_metaschema_is_enforced() -> None:
    compiled = compile_schema({"$ref": DRAFT7})
    assert takes(compiled.grammar, {"minLength": 3, "type": "string"})
    assert not takes(compiled.grammar, {"minLength": "x"})
    assert compiled.problem({"minLength": -1}) is not None


@pytest.mark.parametrize("spelling", [DRAFT7, DRAFT7.replace("http", "https"), DRAFT7.rstrip("#"), "urn:mine"])
def test_a_misspelled_draft_changes_nothing(spelling: str) -> None:
    schema = {"$schema": spelling, "type": "object", "properties": {"a": {"format": "date"}}, "required": ["a"]}
    compiled = compile_schema(schema, strict=True)
    assert takes(compiled.grammar, {"a": "2024-02-29"})
    assert not takes(compiled.grammar, {"a": "yesterday"})


def test_a_path_names_the_place_in_the_users_schema() -> None:
    unenforced = {"not": {"const": 1}}
    schema = {"$defs": {"one": {"items": {"$ref": "#/$defs/two"}}, "two": unenforced}, "$ref": "#/$defs/one"}
    assert compile_schema(schema).unenforced == "schema/$defs/two/not"


def test_schemas_outside_of_definitions_are_corrected_too() -> None:
    schema = {"items": {"$ref": "#/components/schemas/a"}, "components": {"schemas": {"a": {"type": "str"}}}}
    compiled = compile_schema(schema)
    assert takes(compiled.grammar, ["x"])
    assert not takes(compiled.grammar, [1])
    schema["components"]["schemas"]["a"] = {"pattern": 5}
    with pytest.raises(RequestError) as caught:
        compile_schema(schema)
    assert caught.value.field == "schema/components/schemas/a/pattern"


def test_a_definition_is_kept_once_and_only_where_it_is_used() -> None:
    shared = {"type": "string"}
    contained = self_contained(
        {"items": {"$ref": "#/$defs/a"}, "contains": {"$ref": "#/$defs/a"}, "$defs": {"a": shared, "b": {}}}, LATEST
    )
    assert contained.schema == {
        "items": {"$ref": "#/$defs/d0"},
        "contains": {"$ref": "#/$defs/d0"},
        "$defs": {"d0": shared},
    }
