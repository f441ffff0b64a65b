"""Time llama.cpp's kernels of each GGML type on this processor: nanoseconds a thousand weights, decode and prefill.

Layers of GLM-4-9B's shapes in one type, with a hole for weights: kernels take as long for zeros. One thread computes,
and its own time counts, so that other programs disturb little. `convert --for cpu` weighs such times.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from math import prod
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from checkpoints import Shape, write_hollow_weights  # noqa: E402

from glm_gguf.convert import ConvertOptions, TypeChoices, make_plans  # noqa: E402
from glm_gguf.convert.planned_head import planned_heads  # noqa: E402
from glm_gguf.convert.source.source import Source  # noqa: E402
from glm_gguf.gguf_file.parts import GgufParts  # noqa: E402
from glm_gguf.llama.engine_options import EngineOptions  # noqa: E402
from glm_gguf.llama.kernel_rates import KernelTimer, Seconds  # noqa: E402
from glm_gguf.llama.load_plan import LoadPlan, Machine  # noqa: E402

TYPES = [
    *("Q2_K", "Q3_K_S", "Q4_K_S", "Q5_K_S", "Q6_K", "Q8_0", "BF16"),
    *("Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL", "IQ4_XS", "IQ3_S"),
]
SHAPE = Shape(4096, 13824, 4, 32, 2, 128, vocab=512, bias=True)


def timers(directory: Path, types: list[str]) -> dict[str, KernelTimer]:
    """Return a timer for a model whose matrices all have a type."""
    (directory / "config.json").write_text(json.dumps(SHAPE.config()))
    source = Source.local(write_hollow_weights(directory))
    options = EngineOptions(n_ctx=512, threads=1)
    machine, found = Machine.here(options), {}
    for type_ in types:
        (plan,) = make_plans(source, ConvertOptions(types=TypeChoices(type_, pure=type_ != "BF16")))
        contents = GgufParts(planned_heads((plan,)))
        load = LoadPlan.estimate(contents, options, machine)
        found[type_] = KernelTimer(contents, load, clock=time.thread_time)
    return found


def main() -> None:
    """Time every type in turn, several times, and print the least of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--types", nargs="+", default=TYPES)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    weights = sum(prod(shape) for shape in ((27648, 4096), (4096, 13824), (4096, 4096), (4096, 4096), (512, 4096)))
    least: dict[str, Seconds] = {}
    with tempfile.TemporaryDirectory() as directory:
        timed = timers(Path(directory), options.types)
        for _ in range(options.rounds):
            for type_, timer in timed.items():
                rates = timer.rates_with(Seconds(0, 0), 1e18)
                found = rates.start
                before = least.get(type_, found)
                least[type_] = Seconds(min(before.answer, found.answer), min(before.prompt, found.prompt))
    for type_, seconds in least.items():
        decode, prefill = (1e12 * value / (SHAPE.layers * weights) for value in (seconds.answer, seconds.prompt))
        print(f"{type_:8} {decode:7.1f} ns decode, {prefill:7.1f} ns prefill, a thousand weights")


if __name__ == "__main__":
    main()
