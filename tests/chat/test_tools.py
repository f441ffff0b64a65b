"""Python functions declare themselves and are called with what a model wrote."""

from typing import Any, Literal

import pytest

from glm_gguf.chat.tools import call_function, declarations, declare, function_names, result_text
from glm_gguf.errors import RequestError


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
                    "unit": {"enum": ["C", "F"], "description": "Scale of the temperature."},
                    "days": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
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
        "table": {"type": "object"},
    }


def test_declarations_come_in_three_forms() -> None:
    bare = {"name": "f", "parameters": {}}
    tools = declarations([get_weather, bare, {"type": "function", "function": bare}])
    assert function_names(tools) == ("get_weather", "f", "f")
    assert tools[1] == tools[2]


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
