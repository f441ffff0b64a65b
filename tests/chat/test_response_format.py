"""A type as the form of an answer: models, dataclasses and lists of them."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict

import pydantic
import pytest

from glm_gguf import GLM, RequestError
from glm_gguf.chat.response_format import SchemaFormat, TextFormat, response_format
from glm_gguf.schema.grammar_share import compile_schema


class Street(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=8)


class City(pydantic.BaseModel):
    """A city."""

    name: Literal["Paris", "Rome"]
    streets: list[Street] = pydantic.Field(max_length=1)
    open: bool


@dataclasses.dataclass
class Point:
    x: Literal[1, 2]
    y: Literal[3]


class Key(TypedDict):
    key: Literal["a", "b"]


def accepts(schema: dict[str, Any], value: Any) -> bool:
    return compile_schema(schema).problem(value) is None


def schema_of(kind: Any) -> dict[str, Any]:
    form = response_format(kind)
    assert isinstance(form, SchemaFormat)
    assert isinstance(form.schema, dict)
    compile_schema(form.schema)
    return form.schema


def test_a_model_is_its_schema_without_what_it_does_not_name() -> None:
    schema = schema_of(City)
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Street"]["additionalProperties"] is False
    assert schema["properties"]["name"]["enum"] == ["Paris", "Rome"]


def test_definitions_of_a_list_of_models_stand_at_the_root() -> None:
    assert "Street" in schema_of(list[City])["$defs"]


@pytest.mark.parametrize("kind", [dict[str, int], int | None, Key, Point, list[Point]], ids=str)
def test_other_types_are_formats_too(kind: Any) -> None:
    assert schema_of(kind)


class Pair(NamedTuple):
    name: Literal["a"]
    count: int = 0


class Foreign:
    """No JSON form is known."""


def test_a_named_tuple_is_an_array_as_pydantic_reads_it() -> None:
    ours, theirs = schema_of(Pair), pydantic.TypeAdapter(Pair).json_schema()
    assert (ours["minItems"], ours["maxItems"]) == (theirs["minItems"], theirs["maxItems"]) == (1, 2)
    assert pydantic.TypeAdapter(Pair).validate_json('["a", 3]') == Pair("a", 3)
    assert accepts(ours, ["a", 3])
    assert not accepts(ours, ["b"])


@pytest.mark.parametrize("kind", [datetime.timedelta, pydantic.HttpUrl, deque[int]], ids=str)
def test_a_type_that_pydantic_alone_knows_has_its_schema(kind: Any) -> None:
    assert schema_of(kind) == pydantic.TypeAdapter(kind).json_schema()


def test_keys_of_a_dict_are_what_its_hint_says() -> None:
    assert accepts(schema_of(dict[int, str]), {"3": "a"})
    assert not accepts(schema_of(dict[int, str]), {"a": "a"})
    assert not accepts(schema_of(dict[Literal["a"], int]), {"b": 1})


@pytest.mark.parametrize("kind", [Foreign, Callable[[int], int], range], ids=str)
def test_a_type_without_a_json_form_is_refused(kind: Any) -> None:
    with pytest.raises(RequestError, match="has no JSON form"):
        response_format(kind)


@pytest.mark.parametrize("value", [3, "json", City(name="Rome", streets=[], open=True), {"type": "object"}], ids=repr)
def test_an_unknown_format_is_refused_with_the_known_ones(value: Any) -> None:
    with pytest.raises(RequestError, match=r"response_format: .*give \{\"type\": "):
        response_format(value)


@pytest.mark.parametrize(("key", "meant"), [("strct", "strict"), ("Schema", "schema")])
def test_a_misspelled_key_beside_a_schema_is_refused(key: str, meant: str) -> None:
    with pytest.raises(RequestError, match=f"json_schema.{key}: its name is `{meant}`"):
        response_format({"type": "json_schema", "json_schema": {"schema": {"type": "object"}, key: True}})


SURPLUS = {
    "a schema beside text": ({"type": "text", "schema": {"type": "object"}}, "'schema'"),
    "a pattern beside an object": ({"type": "json_object", "pattern": "a+"}, "'pattern'"),
    "choices beside a pattern": ({"type": "regex", "pattern": "a", "choices": ["b"]}, "'choices'"),
    "a schema beside a grammar": (
        {"type": "lark", "grammar": "start: /a/", "json_schema": {}},
        "'json_schema'",
    ),
}


@pytest.mark.parametrize(("value", "name"), SURPLUS.values(), ids=SURPLUS.keys())
def test_an_unread_field_of_a_format_is_refused_by_name(value: Any, name: str) -> None:
    with pytest.raises(RequestError, match=f"response_format: .* has no field {name}"):
        response_format(value)


def test_empty_fields_beside_a_format_pass() -> None:
    assert response_format({"type": "text", "schema": None, "strict": False}) == TextFormat()


def test_an_answer_fits_its_type(tiny_gguf: Callable[[str], Path]) -> None:
    with GLM(tiny_gguf("Q8_0"), options={"threads": 1, "n_ctx": 512}) as glm:
        asked: Any = {"messages": "Where?", "temperature": 0, "max_tokens": 100}
        city = City.model_validate_json(glm.chat(**asked, response_format=City).content)
        assert city.name in ("Paris", "Rome")
        point = Point(**json.loads(glm.chat(**asked, response_format=Point).content))
        assert point.y == 3
        assert json.loads(glm.chat(**asked, response_format=Key).content)["key"] in ("a", "b")
