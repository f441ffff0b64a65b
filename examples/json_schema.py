"""Have an answer fit a JSON schema: `python examples/json_schema.py model.gguf "It is rainy in Paris, 11 degrees."`."""

import json
import sys

from glm_gguf import GLM, GlmGgufError

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"enum": ["Paris", "London", "Beijing"]},
        "weather": {"enum": ["sunny", "cloudy", "rainy"]},
        "degrees": {"type": "integer", "minimum": -60, "maximum": 60},
    },
    "required": ["city", "weather", "degrees"],
    "additionalProperties": False,
}


def main(path: str, report: str) -> None:
    """Read a report into a value; an answer that max_tokens cuts is no whole JSON."""
    form = {"type": "json_schema", "json_schema": {"name": "report", "schema": SCHEMA}}
    with GLM(path) as glm:
        result = glm.chat(f"Report: {report}", response_format=form, temperature=0, max_tokens=128)
    if result.finish_reason == "stop":
        value = json.loads(result.content)
        print(value["city"], value["weather"], value["degrees"])
    else:
        print(f"cut: {result.content}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python examples/json_schema.py model.gguf [REPORT]")
    try:
        main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "It is rainy in Paris, 11 degrees.")
    except GlmGgufError as error:
        sys.exit(f"Error: {error}")
