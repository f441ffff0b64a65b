"""Requests that the tiny model answers well: six tools, and short answers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from glm_gguf.demo.tools import DECLARATIONS

TOOLS: dict[str, dict[str, Any]] = {tool["function"]["name"]: tool for tool in DECLARATIONS}
WEATHER = [{"role": "user", "content": "What is the weather in Paris?"}]
TWO_CITIES = [{"role": "user", "content": "北京和上海的空气质量怎么样？"}]
HELLO = [{"role": "user", "content": "Hello"}]
# So hot that no draft is accepted: the answer takes a decode step for each of its some 4,000 tokens.
ENDLESS: dict[str, Any] = {"messages": HELLO, "ignore_eos": True, "temperature": 2, "top_p": 1}
SHORT: dict[str, Any] = {"messages": HELLO, "temperature": 0, "max_tokens": 6}


class GetWeather(BaseModel):
    """Weather of a city"""

    city: str


class Verdict(BaseModel):
    """A value that is short in every form."""

    model_config = ConfigDict(extra="forbid")

    level: Literal["good", "bad"]
    count: int = Field(ge=0, le=9)
