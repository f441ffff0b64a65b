#!/usr/bin/env python3
"""Compare the rates of GLM.stream with llama-bench on the same file with the same threads.

    scripts/bench_decode.py MODEL.gguf --llama-bench BINARY [--threads N] [--prompt 512] [--tokens 64] [--rounds 3]
                            [--batch N] [--gpu-layers N]

Every round opens and measures both in turn: a busy machine slows both down, and neither keeps a lucky or unlucky place
in memory. Ours counts everything between the call and the last event: template, tokens, sampling, parser, and the
delivery between threads. Both sides have prompts of the same length, and decode after them. llama-bench prefills 512
tokens at once, ours --batch. Prints tokens a second of prefill and decode as medians over the rounds, and the median of
the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from glm_gguf import GLM, ChatResult, EngineOptions, SamplingParams, collect


@dataclass(frozen=True)
class Rates:
    """Tokens a second."""

    prompt: float
    answer: float


def timed(glm: GLM, text: str, tokens: int) -> tuple[float, ChatResult]:
    sampling = SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=True)
    start = time.perf_counter()
    result = collect(glm.stream([{"role": "user", "content": text}], sampling=sampling))
    return time.perf_counter() - start, result


def ours(glm: GLM, number: int, prompt: int, tokens: int) -> tuple[Rates, int]:
    """Prefill a new prompt for one token; then, with the prompt in the cache, decode one token and many.

    Returns the rates, and the tokens of the prefill.
    """
    unit = len(glm.tokenize(" and so on" * 8)) / 8
    text = f"{number * 7919}" + " and so on" * max(1, round(prompt / unit))
    seconds, result = timed(glm, text, 1)
    read = result.usage.prompt_tokens - result.usage.cached_tokens
    one, _ = timed(glm, text, 1)
    many, _ = timed(glm, text, tokens + 1)
    return Rates(read / seconds, tokens / (many - one)), read


def peer(arguments: argparse.Namespace, prompt: int) -> Rates:
    def rate(*sizes: str | int) -> float:
        command = [arguments.llama_bench, "-m", arguments.model, *sizes, "-t", arguments.threads, "-r", 1]
        command += ["-ngl", arguments.gpu_layers, "-o", "json"]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
        return float(json.loads(done.stdout)[0]["avg_ts"])

    return Rates(rate("-p", prompt, "-n", 0), rate("-p", 0, "-n", arguments.tokens, "-d", prompt))


def report(name: str, mine: Sequence[float], theirs: Sequence[float]) -> None:
    ratio = statistics.median(a / b for a, b in zip(mine, theirs, strict=True))
    print(f"{name:8} ours {statistics.median(mine):9.2f}  llama-bench {statistics.median(theirs):9.2f}  {ratio:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--llama-bench", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, help="n_batch of ours; its default else")
    parser.add_argument("--gpu-layers", type=int, default=0, help="computed on a GPU; 99 are all")
    arguments = parser.parse_args()
    sizes = arguments.prompt, arguments.tokens
    options = EngineOptions(threads=arguments.threads, n_gpu_layers=arguments.gpu_layers, n_batch=arguments.batch)
    n_ctx = arguments.prompt * 2 + arguments.tokens + 256
    mine, theirs = [], []
    for number in range(1, arguments.rounds + 1):
        with GLM(arguments.model, n_ctx=n_ctx, options=options) as glm:
            ours(glm, 0, arguments.prompt, 1)  # pages and threads; llama-bench warms up too
            rates, read = ours(glm, number, *sizes)
        mine.append(rates)
        theirs.append(peer(arguments, read))
    report("prompts", [rates.prompt for rates in mine], [rates.prompt for rates in theirs])
    report("answers", [rates.answer for rates in mine], [rates.answer for rates in theirs])


if __name__ == "__main__":
    main()
