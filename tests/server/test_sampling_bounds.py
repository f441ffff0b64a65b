"""The server's fields and the page have the bounds of SamplingParams."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from glm_gguf import GLM
from glm_gguf.llama.bounds import Bounds
from glm_gguf.llama.sampling_params import DRY_BOUNDS, SAMPLING_BOUNDS
from glm_gguf.server import page
from glm_gguf.server.app import create_app
from glm_gguf.server.settings import ServerSettings

OF_THE_API = {"frequency_penalty": (-2, 2), "presence_penalty": (-2, 2), "repeat_penalty": (0, 100)}
"""OpenAI's bounds are narrower; a repeat_penalty of 0 is none, as in other servers."""


def never() -> GLM:
    raise AssertionError("the description needs no model")


SCHEMAS: dict[str, Any] = create_app(ServerSettings("tiny"), never).openapi()["components"]["schemas"]
BOUNDS = {**SAMPLING_BOUNDS, **{f"dry_{name}": bounds for name, bounds in DRY_BOUNDS.items()}}
FIELDS = [
    pytest.param(field["anyOf"][0], name, bounds, id=f"{request}.{name}")
    for request, schema in SCHEMAS.items()
    for name, field in schema.get("properties", {}).items()
    if (bounds := BOUNDS.get(name)) is not None and "maximum" in field.get("anyOf", [{}])[0]
]


@pytest.mark.parametrize(("number", "name", "bounds"), FIELDS)
def test_the_server_has_the_bounds_of_the_model(number: dict[str, Any], name: str, bounds: Bounds) -> None:
    low, high = OF_THE_API.get(name, (bounds.minimum, bounds.maximum))
    assert number["maximum"] == high
    assert number["minimum"] == low or (name == "max_tokens" and number["minimum"] == 0)  # to score the prompt alone
    assert number["type"] == ("integer" if bounds.whole else "number")


def test_bounds_stand_in_the_description() -> None:
    assert len(FIELDS) > 20


def test_the_page_has_the_bounds_of_the_model() -> None:
    scripts = Path(page.__file__).parent.joinpath("static").rglob("*.js")
    (table,) = [
        found[1]
        for script in scripts
        if (found := re.search(r"const BOUNDS = .*?\{(.*?)\}", script.read_text("utf-8"), re.S))
    ]
    rows = re.findall(r"(\w+): \[(.+), (.+), (true|false)\]", table)
    read = {_snake(name): Bounds(_number(low), _number(high), whole == "true") for name, low, high, whole in rows}
    assert len(read) == 5
    assert read == {name: SAMPLING_BOUNDS[name] for name in read}


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def _number(text: str) -> float:
    power = re.fullmatch(r"2 \*\* (\d+) - (\d)", text)
    return float(text) if power is None else 2 ** int(power[1]) - int(power[2])
