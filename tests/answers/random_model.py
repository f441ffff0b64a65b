"""A model of random weights whose every call must be valid."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from jsonschema import Draft202012Validator

from glm_gguf.chat.events import ChatResult
from glm_gguf.convert import ConvertOptions, TypeChoices, convert
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.model import GLM
from tests.chat.random_schemas import tool_set
from tests.checkpoints import write_checkpoint

QUESTION = [{"role": "user", "content": "?"}]
CHOICES = ("required", "auto", "named", "single")


@dataclass
class Tally:
    """Counts over many answers."""

    answers: int = 0
    calls: int = 0
    whole: int = 0
    tokens: int = 0
    wrong: list[str] = field(default_factory=list)


def write_random_model(directory: Path) -> Path:
    """A GGUF of random weights with a vocabulary of single bytes and a few merges."""
    checkpoint = write_checkpoint(directory / "checkpoint")
    path = directory / "random.gguf"
    convert(checkpoint, path, ConvertOptions(types=TypeChoices(type="F16")))
    return path


def ask(glm: GLM, number: int, max_tokens: int) -> tuple[list[dict[str, Any]], ChatResult]:
    """Let the model call a function of tool set `number`."""
    tools = tool_set(Random(number))
    sampling = SamplingParams(temperature=1.5, top_k=0, top_p=1.0, seed=number, max_tokens=max_tokens)
    kind = CHOICES[number % len(CHOICES)]
    choice: Any = {"named": {"type": "function", "function": {"name": tools[0]["function"]["name"]}}}.get(kind, kind)
    options = {"tool_choice": "required" if kind == "single" else choice, "parallel_tool_calls": kind != "single"}
    return tools, glm.chat(QUESTION, tools, sampling, **options)  # type: ignore[arg-type]


def count(tally: Tally, tools: list[dict[str, Any]], result: ChatResult) -> None:
    """Validate every call with the jsonschema package."""
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    tally.answers += 1
    tally.tokens += result.usage.completion_tokens
    tally.whole += result.finish_reason == "tool_calls"
    for call in result.tool_calls:
        tally.calls += 1
        validator = Draft202012Validator(schemas[call.name], format_checker=Draft202012Validator.FORMAT_CHECKER)
        tally.wrong += [error.message for error in validator.iter_errors(json.loads(call.arguments))]
