"""Our chat templates, rendered in the environment that transformers uses."""

import functools
import json
from pathlib import Path
from typing import Any

from jinja2 import Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

FOLDER = Path(__file__).resolve().parents[2] / "glm_gguf" / "chat"
CHAT, Z1 = "glm-4-0414", "glm-z1-0414"


def source(name: str) -> str:
    """Return a template's text."""
    return (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")


@functools.cache
def compiled(name: str) -> Template:
    """Compile a template once."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = functools.partial(json.dumps)
    return environment.from_string(source(name))


def render(name: str, messages: list[dict[str, Any]], tools: list[dict[str, Any]], prompt: bool = False) -> str:
    """Render a conversation; with prompt, end it with the generation prompt."""
    return compiled(name).render(messages=messages, tools=tools, add_generation_prompt=prompt)
