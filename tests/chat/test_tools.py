"""Python functions declare themselves and are called with a model's arguments."""

import dataclasses
import enum
from typing import Annotated, Any, Literal

import pydantic
import pytest

from glm_gguf.chat.tools import call_function, declarations, declare, function_names, result_text
from glm_gguf.errors import RequestError
from glm_gguf.schema.grammar_share import compile_schema


def get_weather(city: str, unit: Literal["C", "F"] = "C", days: int | None = None) -> dict[str, Any]:
    """Weather of a city,
    as it is now.

    Args:
        city: Name of the city.
        unit (str): Scale of the temperature.

    Returns:
        Not part of the declaration.
    """
    return {"city": city, "unit": unit, "days": days, "weather": "晴"}


def untyped(anything, many: list[float], table: dict[str, int]):  # type: ignore[no-untyped-def]
    return [anything, many, table]


def positional(value: int, /) -> int:
    return value


def test_a_function_declares_itself() -> None:
    assert declare(get_weather) == {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Weather of a city, as it is now.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "Name of the city."},
                    "unit": {"enum": ["C", "F"], "default": "C", "description": "Scale of the temperature."},
                    "days": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
                },
                "required": ["city"],
            },
        },
    }


def test_hints_that_json_lacks_say_nothing() -> None:
    properties = declare(untyped)["function"]["parameters"]["properties"]
    assert properties == {
        "anything": {},
        "many": {"type": "array", "items": {"type": "number"}},
        "table": {"type": "object", "additionalProperties": {"type": "integer"}},
    }


def test_declarations_come_in_three_forms() -> None:
    bare = {"name": "f", "parameters": {}}
    tools = declarations([get_weather, bare, {"type": "function", "function": bare | {"name": "g"}}])
    assert function_names(tools) == ("get_weather", "f", "g")
    assert tools[1]["function"] | {"name": "g"} == tools[2]["function"]


@pytest.mark.parametrize("tool", [3, {}, {"function": {}}, {"function": {"name": ""}}, {"function": 1}], ids=repr)
def test_a_malformed_declaration_is_refused(tool: Any) -> None:
    with pytest.raises(RequestError, match=r"tools\[0\]"):
        declarations([tool])


def test_a_parameter_without_name_cannot_be_declared() -> None:
    with pytest.raises(RequestError, match="value"):
        declare(positional)


def test_a_function_is_called() -> None:
    result = call_function(get_weather, '{"city": "北京", "unit": "F"}')
    assert result_text(result) == '{"city": "北京", "unit": "F", "days": null, "weather": "晴"}'
    assert result_text("as it is") == "as it is"


@pytest.mark.parametrize("arguments", ["", "[1]", "{", '{"city": 1, "town": 2}', "{}", '{"city": 1} x'], ids=repr)
def test_arguments_that_do_not_fit_are_refused(arguments: str) -> None:
    with pytest.raises(RequestError, match="call of get_weather"):
        call_function(get_weather, arguments)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0


class Place(pydantic.BaseModel):
    name: str
    at: tuple[float, float] | None = None


class Trip(pydantic.BaseModel):
    start: Place
    stops: list[Place] = []


def draw(
    colour: Colour, points: list[Point], label: Annotated[str | None, "Text beside it."] = None
) -> tuple[Any, ...]:
    """Draw points.

    Args:
        colour: Of all
            the points.
        points: Where.
    """
    return colour, points, label


def plan(trip: Trip, extras: dict[str, int] | None = None) -> Trip:
    """Plan a trip.

    :param trip: From where
        to where.
    :param dict extras: What else.
    """
    return trip


def numpy_style(a: int, b: str = "") -> int:
    """Do it.

    Parameters
    ----------
    a : int
        The number.
    b : str, optional
        The text,
        in words.

    Returns
    -------
    int
    """
    return a


def test_enums_dataclasses_and_annotations_are_declared() -> None:
    properties = declare(draw)["function"]["parameters"]["properties"]
    assert properties["colour"] == {"enum": ["red", "blue"], "description": "Of all the points."}
    assert properties["points"]["items"]["required"] == ["x"]
    assert properties["label"]["description"] == "Text beside it."


def test_docstrings_of_three_kinds_are_read() -> None:
    assert declare(plan)["function"]["parameters"]["properties"]["trip"]["description"] == "From where to where."
    assert declare(plan)["function"]["description"] == "Plan a trip."
    texts = [node.get("description") for node in declare(numpy_style)["function"]["parameters"]["properties"].values()]
    assert texts == ["The number.", "The text, in words."]


def test_values_arrive_as_the_types_that_are_asked_for() -> None:
    colour, points, label = call_function(draw, '{"colour": "blue", "points": [{"x": 1.5}, {"x": 2, "y": 3}]}')
    assert (colour, points, label) == (Colour.BLUE, [Point(1.5), Point(2, 3)], None)


def test_pydantic_models_are_declared_and_made() -> None:
    parameters = declare(plan)["function"]["parameters"]
    assert "Place" in parameters["$defs"]
    compile_schema(parameters)
    trip = call_function(
        plan, '{"trip": {"start": {"name": "北京"}, "stops": [{"name": "上海", "at": [31.2, 121.5]}]}}'
    )
    assert isinstance(trip, Trip)
    assert trip.stops[0].at == (31.2, 121.5)


@pytest.mark.parametrize(
    "arguments",
    ['{"colour": "green", "points": []}', '{"colour": "red", "points": [{"y": 1}]}', '{"colour": "red", "points": 3}'],
)
def test_values_of_other_types_are_refused(arguments: str) -> None:
    with pytest.raises(RequestError, match="call of draw"):
        call_function(draw, arguments)


def test_a_hint_that_names_nothing_is_refused() -> None:
    def broken(a: "Nothing") -> None:  # type: ignore[name-defined]  # noqa: F821
        pass

    with pytest.raises(RequestError, match="type hint"):
        declare(broken)
