"""Let a model call functions whose arguments pydantic describes: `python examples/pydantic_tools.py model.gguf`."""

import sys
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from glm_gguf import GLM, GlmGgufError, ToolCall


class Weather(BaseModel):
    """The model reads the function's result as JSON."""

    city: str
    weather: str
    temperature: int


def get_weather(
    city: Annotated[str, Field(description="Name of the city.", min_length=1)],
    unit: Annotated[Literal["C", "F"], "Scale of the temperature."] = "C",
) -> Weather:
    """Get the weather of a city."""
    return Weather(city=city, weather="sunny", temperature=21 if unit == "C" else 70)


def approve(call: ToolCall) -> bool:
    """Decide whether a call may run: print it and allow it."""
    print(f"→ {call.name}({call.arguments})")
    return True


def main(path: str) -> None:
    """Ask, run what is called, and print the answer."""
    with GLM(path) as glm:
        question = "What is the weather in Paris?"
        result = glm.run(question, [get_weather], limits={"approve": approve}, temperature=0, max_tokens=128)
        print(result.content)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python examples/pydantic_tools.py model.gguf")
    try:
        main(sys.argv[1])
    except GlmGgufError as error:
        sys.exit(f"Error: {error}")
