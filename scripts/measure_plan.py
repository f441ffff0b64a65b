"""Hold what `plan` estimates against llama.cpp: scripts/measure_plan.py [--type Q8_0] [--layers 40] [--depth 1024].

Each file has GLM-4-9B's shapes and a hole for weights. Sizes are compared with those that llama.cpp logs, for two
contexts and two types of the KV cache; rates with `bench`, behind no token and behind `--depth` of them. The ratios are
estimate to reality. With `--threads 1`, seconds are the processor's, which other programs disturb less, and the
bandwidth does not bound the estimate.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import inf
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from measure_fit import TYPES, write_hollow_files

from glm_gguf.cpus import usable_cpus
from glm_gguf.llama.bandwidth import measure_bandwidth
from glm_gguf.llama.engine_options import CacheType, EngineOptions
from glm_gguf.llama.kernel_rates import KernelRates, KernelTimer
from glm_gguf.llama.load_plan import LoadPlan, Machine
from glm_gguf.llama.model_file import ModelFile
from glm_gguf.model import GLM

CONTEXTS = (4096, 32768)
CACHES = (CacheType.F16, CacheType.Q8_0)
SIZE = re.compile(r"(?<!REPACK) (model|KV|compute) buffer size =\s+([\d.]+) MiB")
PROMPT, ANSWER = 128, 12


class LoggedSizes(logging.Handler):
    """The sizes of llama.cpp's buffers, from its log: MiB by kind."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        for kind, size in SIZE.findall(record.getMessage()):
            self.found[kind] = self.found.get(kind, 0) + float(size)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--type", action="append")
    parser.add_argument("--layers", type=int, default=40)
    parser.add_argument("--depth", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=usable_cpus())
    parser.add_argument("--no-rates", action="store_true")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    with tempfile.TemporaryDirectory(prefix="glm-gguf-plan-") as directory:
        for name, path in write_hollow_files(Path(directory), arguments.type or list(TYPES), arguments.layers).items():
            for options in combinations(arguments.threads):
                print(f"{name:7} {sizes(path, options)}", flush=True)
            if not arguments.no_rates:
                for cache in CACHES:
                    for line in rates(path, of_cache(cache, arguments.threads), arguments.depth, clock):
                        print(f"{name:7} {line}", flush=True)


def of_cache(cache: CacheType, threads: int) -> EngineOptions:
    return EngineOptions(cache_type_k=cache, cache_type_v=cache, threads=threads, n_parallel=1, draft=0)


def combinations(threads: int) -> Iterator[EngineOptions]:
    for cache in CACHES:
        for n_ctx in CONTEXTS:
            yield replace(of_cache(cache, threads), n_ctx=n_ctx)


def sizes(path: Path, options: EngineOptions) -> str:
    """Open a file, and compare the plan's sizes with llama.cpp's."""
    logged = LoggedSizes()
    logger = logging.getLogger("glm_gguf.llama")
    logger.addHandler(logged)
    logger.setLevel(logging.DEBUG)
    try:
        with GLM(path, options=options) as glm:
            plan = glm._plan
    finally:
        logger.removeHandler(logged)
    estimates = {"model": plan.need.weights, "KV": plan.need.cache, "compute": plan.compute}
    told = (f"{kind} {estimates[kind] / 2**20:.0f} of {real:.0f} MiB" for kind, real in logged.found.items())
    return f"{options.n_ctx:6,} tokens, cache {options.cache_type_k}: {', '.join(told)}"


def rates(path: Path, options: EngineOptions, depth: int, clock: Callable[[], float]) -> Iterator[str]:
    """Time a file as `plan` does, then by answers."""
    options = replace(options, n_ctx=depth + 2 * PROMPT + 256)
    machine = Machine.here(options)
    contents = ModelFile.open(path).contents
    timer = KernelTimer(contents, LoadPlan.estimate(contents, options, machine), clock)
    bandwidth = inf if clock is time.process_time else measure_bandwidth(options.threads, machine.memory)
    estimate = timer.rates(bandwidth)
    with GLM(path, options=options) as glm:
        seconds(glm, list(range(1000, 1008)), ANSWER, clock)  # the first answer reads the file
        for behind in sorted({0, depth}):
            beside = " (other programs disturbed the estimate)" if estimate.disturbed else ""
            yield f"cache {options.cache_type_k}: {compared(glm, estimate, behind, clock)}{beside}"


def compared(glm: GLM, estimate: KernelRates, depth: int, clock: Callable[[], float]) -> str:
    before = [1000 + number % 5000 for number in range(depth)]
    if depth:
        seconds(glm, before, 1, clock)
    tail = list(range(7000 + depth, 7000 + depth + PROMPT))
    prompt = PROMPT / seconds(glm, before + tail, 1, clock)
    one = min(seconds(glm, before + tail, 1, clock) for _ in range(2))
    answer = ANSWER / (min(seconds(glm, before + tail, 1 + ANSWER, clock) for _ in range(3)) - one)
    expected = estimate.answer_rate(depth + PROMPT), estimate.prompt_rate(PROMPT, depth)
    return (
        f"behind {depth:5,} tokens: answers {expected[0]:.2f} of {answer:.2f} a second ({expected[0] / answer:.2f}), "
        f"prompts {expected[1]:.1f} of {prompt:.1f} ({expected[1] / prompt:.2f})"
    )


def seconds(glm: GLM, ids: list[int], tokens: int, clock: Callable[[], float]) -> float:
    """Time an answer of so many tokens."""
    start = clock()
    for _ in glm.stream_completion(ids, max_tokens=tokens, ignore_eos=True, temperature=0):
        pass
    return clock() - start


if __name__ == "__main__":
    main()
