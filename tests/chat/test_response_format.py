"""A type as the form of an answer: models, dataclasses and lists of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypedDict

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


@pytest.mark.parametrize("value", [3, "json", City(name="Rome", streets=[], open=True), {"type": "object"}], ids=repr)
def test_an_unknown_format_is_refused_with_the_known_ones(value: Any) -> None:
    with pytest.raises(RequestError, match=r"response_format: .*give \{\"type\": "):
        response_format(value)


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
