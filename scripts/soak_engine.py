#!/usr/bin/env python3
"""Send thousands of short requests to one GLM from several threads, and watch memory and cells.

    scripts/soak_engine.py MODEL.gguf [--requests 10000] [--draft N]

The clients close a fifth of the answers half way. Exits with 1 where memory grew by more than 2 % after three
tenths, or where cells stay in use after the last answer once the cached prefixes are dropped.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil

from glm_gguf import GLM, EngineOptions, SamplingParams
from glm_gguf.engine.scheduler import Scheduler
from glm_gguf.llama.context import Context

WORDS = ("weather", "in", "Paris", "Beijing", "北京", "上海", "joke", "story", "37", "plus", "58", "what", "is", "the")
THREADS = 8


def ask(glm: GLM, number: int) -> int:
    generator = random.Random(number)
    text = " ".join(generator.choices(WORDS, k=generator.randint(1, 12)))
    sampling = SamplingParams(seed=number, max_tokens=generator.randint(1, 24))
    with glm.stream([{"role": "user", "content": text}], sampling=sampling) as events:
        if number % 5 == 0:
            next(events)
            return 0
        return sum(1 for _ in events)


def cells_in_use(scheduler: Scheduler, context: Context) -> int:
    scheduler.cache.clear()
    return sum(context.length(sequence) for sequence in range(256))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--draft", type=int, help="tokens to draft, whether they pay or not; default: as many as pay")
    arguments = parser.parse_args()
    process = psutil.Process()
    start = time.perf_counter()
    options = EngineOptions(n_ctx=2048, n_parallel=8, threads=arguments.threads)
    if arguments.draft is not None:
        options = replace(options, draft=arguments.draft)
    with GLM(arguments.model, options=options) as glm:
        sizes = []
        with ThreadPoolExecutor(THREADS) as pool:
            for tenth in range(10):
                numbers = range(tenth * arguments.requests // 10, (tenth + 1) * arguments.requests // 10)
                list(pool.map(lambda number: ask(glm, number), numbers))
                sizes.append(process.memory_info().rss)
        glm.chat([{"role": "user", "content": "the last"}], sampling=SamplingParams(max_tokens=1))
        status = glm.status
        cells = glm._engine.call(cells_in_use)
    seconds = time.perf_counter() - start
    growth = sizes[-1] / sizes[2] - 1
    print(f"{arguments.requests} requests in {seconds:.0f} s ({arguments.requests / seconds:.0f} a second)")
    print("MB after each tenth:", *(f"{size / 1e6:.1f}" for size in sizes), f"(growth {growth:+.1%})")
    print(f"cells in use at the end: {cells}; {status.drafted} tokens drafted, {status.accepted} accepted")
    sys.exit(growth > 0.02 or cells != 0)


if __name__ == "__main__":
    main()
