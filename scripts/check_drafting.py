#!/usr/bin/env python3
"""Compare answers with and without drafts: scripts/check_drafting.py [--answers 300] [--draft 12].

The bundled tiny checkpoint answers as F32 without flash attention: tools, schemas, stop texts, log probabilities,
several choices, mixes of two LoRA adapters, greedy and sampled with a seed, many at once. Exits with 1 where an answer
differs, or a log probability by more than 4e-5.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from glm_gguf.chat.events import ChatResult
from glm_gguf.convert import ConvertOptions, TypeChoices, convert
from glm_gguf.demo.tools import DECLARATIONS
from glm_gguf.llama.engine_options import CacheType, EngineOptions, LoraAdapter
from glm_gguf.model import GLM
from tests.lora_adapters import factors, write_adapter

CHECKPOINT = Path(__file__).resolve().parent.parent / "glm_gguf" / "demo" / "checkpoint"
EXACT = EngineOptions(
    threads=1,
    n_ctx=4096,
    n_parallel=4,
    flash_attention=False,
    cache_type_k=CacheType.F32,
    cache_type_v=CacheType.F32,
    n_gpu_layers=0,
)
TOLERANCE = 4e-5
MIXES: tuple[dict[str, float], ...] = ({}, {}, {"a": 1.0}, {"a": 0.5, "b": 1.5})
"""Scales of the adapters a and b; absent is 0."""
QUESTIONS = (
    "What is the weather in Paris, and in Beijing?",
    "北京和上海的空气质量怎么样？",
    "What is 37 plus 58?",
    "Write the words weather, Paris, weather, Paris again and again.",
    "Remind me to call Anna at 15:30.",
)
SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Beijing"]}, "days": {"type": "array", "items": {"type": "integer"}}},
    "required": ["city", "days"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Case:
    """One request: its conversation, and the keywords of `choices`."""

    messages: list[dict[str, Any]]
    n: int
    options: dict[str, Any]


def draw(number: int) -> Case:
    """Draw a request; every option comes often."""
    dice = random.Random(number)
    text = " ".join(dice.choices(QUESTIONS, k=dice.randint(1, 3)))
    options: dict[str, Any] = {"max_tokens": dice.randint(20, 80), "seed": number}
    options["temperature"] = dice.choice([0, 0, 0.7, 1.2])
    if dice.random() < 0.3:
        options |= {"repeat_penalty": 1.1, "frequency_penalty": 0.3, "min_p": 0.02}
    if dice.random() < 0.3:
        options["stop"] = dice.choice([["Paris"], ["。", "."]])
    if dice.random() < 0.3:
        options["logprobs"] = 2
    options["lora"] = dice.choice(MIXES)
    form = dice.choice(["tools", "schema", "text", "text"])
    if form == "tools":
        options |= {"tools": DECLARATIONS, "tool_choice": dice.choice(["auto", "required"])}
    elif form == "schema":
        options["response_format"] = {"type": "json_schema", "json_schema": {"schema": SCHEMA}}
    return Case([{"role": "user", "content": text}], dice.choice([1, 1, 1, 3]), options)


def answers(path: Path, cases: Sequence[Case], options: EngineOptions) -> tuple[list[tuple[ChatResult, ...]], str]:
    """Answer all requests, eight at once; tell how many tokens were drafted."""
    with GLM(path, options=options) as glm, ThreadPoolExecutor(8) as pool:

        def ask(case: Case) -> tuple[ChatResult, ...]:
            return tuple(glm.choices(case.n, case.messages, **case.options))

        found = list(pool.map(ask, cases))
        status = glm.status
        return found, f"{status.steps} steps, {status.drafted} tokens drafted, {status.accepted} accepted"


def exact_model(directory: Path) -> tuple[Path, EngineOptions]:
    """Write the model as F32, and its adapters; return its file, and the options of plain decoding."""
    path = directory / "tiny.gguf"
    convert(CHECKPOINT, path, ConvertOptions(types=TypeChoices(type="F32")))
    adapters = [write_adapter(directory / f"{name}.gguf", factors(path, seed)) for seed, name in enumerate("ab")]
    return path, replace(EXACT, lora=tuple(LoraAdapter(adapter) for adapter in adapters), draft=0)


def same(first: ChatResult, second: ChatResult) -> bool:
    """Tell whether two answers are equal, ids of calls apart, and their log probabilities within the tolerance."""
    one, other = (replace(result, logprobs=(), usage=first.usage) for result in (first, second))
    if one != other or len(first.logprobs) != len(second.logprobs):
        return False
    pairs = zip(first.logprobs, second.logprobs, strict=True)
    return all(a.token == b.token and abs(a.logprob - b.logprob) <= TOLERANCE for a, b in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--answers", type=int, default=300)
    parser.add_argument("--draft", type=int, default=12)
    arguments = parser.parse_args()
    cases = [draw(number) for number in range(arguments.answers)]
    with tempfile.TemporaryDirectory() as directory:
        path, options = exact_model(Path(directory))
        plain, told = answers(path, cases, options)
        print(f"plain: {told}")
        drafted, told = answers(path, cases, replace(options, draft=arguments.draft))
        print(f"draft {arguments.draft}: {told}")
    wrong = [
        number
        for number, pair in enumerate(zip(plain, drafted, strict=True))
        if not all(same(*answer) for answer in zip(*pair, strict=True))
    ]
    print(f"{len(cases)} requests, {sum(case.n for case in cases)} answers, different in requests {wrong}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
