"""The server's fields have the bounds of SamplingParams; the page reads them in the description of the API."""

from __future__ import annotations

from typing import Any

import pytest

from glm_gguf import GLM
from glm_gguf.llama.bounds import Bounds
from glm_gguf.llama.sampling_params import DRY_BOUNDS, SAMPLING_BOUNDS
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
