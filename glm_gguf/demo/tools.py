"""The demo's tools: deterministic Python functions and the declarations the tiny model was trained to call."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from zlib import crc32

WEATHERS = (
    ("sunny", "晴"),
    ("cloudy", "多云"),
    ("rainy", "小雨"),
    ("windy", "大风"),
    ("snowy", "小雪"),
    ("foggy", "有雾"),
)
AIR_LEVELS = ((50, "good", "优"), (100, "fair", "良"), (150, "poor", "轻度污染"), (500, "bad", "重度污染"))
# Invented, fixed rates: the value of one unit in US dollars. A demo must not need the network.
DOLLARS = {"USD": 1.0, "EUR": 1.25, "GBP": 1.5, "CNY": 0.125, "JPY": 0.01, "INR": 0.02, "CHF": 1.2, "CAD": 0.75}
# Two cities whose readings everybody knows from the model card's example.
KNOWN_AIR = {"北京": 10, "上海": 72}


def get_weather(city: str) -> dict[str, Any]:
    """Weather of a city, temperature in degrees Celsius; drawn from the city's name."""
    seed = crc32(city.encode())
    weather = WEATHERS[seed % len(WEATHERS)][_language(city)]
    return {"city": city, "weather": weather, "temperature": 1 + seed // 8 % 38}


def realtime_aqi(city: str) -> dict[str, Any]:
    """Air quality index of a city and its level; drawn from the city's name."""
    index = KNOWN_AIR.get(city, 12 + crc32(b"air" + city.encode()) % 230)
    level = next(names for limit, *names in AIR_LEVELS if index <= limit)
    return {"city": city, "aqi": index, "level": level[_language(city)]}


def add(a: int, b: int) -> dict[str, Any]:
    """Sum of two whole numbers."""
    return {"result": a + b}


def multiply(a: int, b: int) -> dict[str, Any]:
    """Product of two whole numbers."""
    return {"result": a * b}


def convert_currency(amount: int, source: str, target: str) -> dict[str, Any]:
    """Amount of money in another currency (ISO 4217 codes), at invented fixed rates; KeyError for others."""
    value = round(amount * DOLLARS[source] / DOLLARS[target], 1)
    return {"amount": int(value) if value == int(value) else value, "currency": target}


def set_reminder(time: str, text: str) -> dict[str, Any]:
    """Note a reminder; the number it gets is drawn from its time and text."""
    return {"id": 100 + crc32(f"{time} {text}".encode()) % 900, "time": time}


def _language(text: str) -> int:
    """Return 1 for a text with a Chinese character, else 0: the index of a name in that language."""
    return int(any("\u4e00" <= letter <= "\u9fff" for letter in text))


def _declaration(name: str, description: str, **parameters: str) -> dict[str, Any]:
    """Return a function's declaration in the OpenAI form; parameters are name=JSON type, all required."""
    properties = {parameter: {"type": kind} for parameter, kind in parameters.items()}
    schema = {"type": "object", "properties": properties, "required": list(parameters)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


DECLARATIONS: tuple[dict[str, Any], ...] = (
    _declaration("get_weather", "Weather of a city", city="string"),
    _declaration("realtime_aqi", "天气预报。获取实时空气质量", city="string"),
    _declaration("add", "Add two numbers", a="integer", b="integer"),
    _declaration("multiply", "Multiply two numbers", a="integer", b="integer"),
    _declaration("convert_currency", "Convert money", amount="integer", source="string", target="string"),
    _declaration("set_reminder", "Set a reminder", time="string", text="string"),
)

FUNCTIONS: Mapping[str, Callable[..., dict[str, Any]]] = MappingProxyType(
    {
        "get_weather": get_weather,
        "realtime_aqi": realtime_aqi,
        "add": add,
        "multiply": multiply,
        "convert_currency": convert_currency,
        "set_reminder": set_reminder,
    }
)
