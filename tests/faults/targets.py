"""What is fuzzed: each target takes any bytes, and only our own errors may leave it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from glm_gguf.errors import GlmGgufError

Target = Callable[[bytes], None]

SEEDS: Final = Path(__file__).parent / "seeds"
"""A folder for each target: good inputs, and what was found."""

TARGETS: Final = {
    "safetensors": "readers:safetensors",
    "gguf": "readers:gguf",
    "llama": "llama_files:llama",
    "imatrix": "readers:imatrix",
    "measurement": "readers:measurement",
    "session": "readers:session",
    "journal": "readers:journal",
    "adapter": "readers:adapter",
    "checkpoint": "checkpoint_files:checkpoint",
    "template": "texts:template",
    "output": "texts:output",
    "schema": "texts:schema",
    "greeting": "readers:greeting",
    "batch": "readers:batch",
    "mcp": "texts:mcp",
    "page": "texts:page",
    "chat": "bodies:chat",
    "completions": "bodies:completions",
    "responses": "bodies:responses",
    "messages": "bodies:messages",
    "ollama": "bodies:ollama",
    "upload": "bodies:upload",
}
"""Name → module of this folder and function."""


def target(name: str) -> Target:
    """Return the function of a target; its module is imported only now."""
    module, function = TARGETS[name].split(":")
    found: Target = getattr(importlib.import_module(f"tests.faults.{module}"), function)
    return found


def try_out(function: Target, data: bytes) -> None:
    """Give a target bytes; errors of ours are right."""
    with suppress(GlmGgufError):
        function(data)


def seeds(name: str) -> list[bytes]:
    """Return the seeds of a target, in the order of their names."""
    return [path.read_bytes() for path in sorted((SEEDS / name).iterdir())]
