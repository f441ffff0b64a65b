"""Compare every kernel with ggml on many random weights: python scripts/check_kernels.py [--types Q4_K] [--weights 1e9]

Prints per type the compared weights and the blocks that differ; the exit status is then 1. ggml must be one that
does not fuse multiply and add, as on x86-64. Progress goes to stderr every half minute. 1e9 weights of every type, with
and without an importance matrix, take about an hour of two cores; one type takes a few minutes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from glm_gguf.convert.kernels import ggml, quantiser
from glm_gguf.cpus import usable_cpus

Floats = npt.NDArray[np.float32]
Draw = Callable[[np.random.Generator, tuple[int, int]], npt.NDArray[np.floating]]

COLUMNS = 1536  # six super-blocks, no multiple of the lanes
ROWS = 683  # about a million weights, and a last batch that is not full


def normal(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return rng.standard_normal(shape, np.float32)


def bf16(values: Floats) -> Floats:
    """Cut values to bf16, as in checkpoints."""
    return (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def sparse(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return normal(rng, shape) * (rng.random(shape, np.float32) < rng.random((shape[0], 1)) ** 2)


def outliers(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    values = normal(rng, shape)
    values[:, :: int(rng.integers(16, 300))] *= 10 ** rng.uniform(0, 5)
    return values


def block_scales(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    sizes = 10.0 ** rng.uniform(-4, 1, (shape[0], shape[1] // 32))
    return normal(rng, shape) * np.repeat(sizes, 32, axis=1)


DISTRIBUTIONS: dict[str, Draw] = {
    "bf16 normal": lambda rng, shape: bf16(normal(rng, shape) * np.float32(0.02)),
    "normal": normal,
    "laplace": lambda rng, shape: rng.laplace(size=shape),
    "student t": lambda rng, shape: rng.standard_t(2, shape),
    "uniform": lambda rng, shape: rng.uniform(-1, 1, shape),
    "grid (ties)": lambda rng, shape: np.round(normal(rng, shape) * 8) / 8,
    "borders of levels": lambda rng, shape: rng.integers(-15, 16, shape) * np.float32(rng.random() / 15),
    "negative": lambda rng, shape: -np.abs(normal(rng, shape)) - rng.random(),
    "positive": lambda rng, shape: np.abs(normal(rng, shape)) + rng.random((shape[0], 1)),
    "sparse": sparse,
    "outliers": outliers,
    "block scales": block_scales,
    "row scales": lambda rng, shape: normal(rng, shape) * 10 ** rng.uniform(-45, 8, (shape[0], 1)),
    "nearly constant": lambda rng, shape: normal(rng, shape) * 10 ** rng.uniform(-9, -1, (shape[0], 1)) - 1,
}


def importance(rng: np.random.Generator) -> Floats:
    values = rng.random(COLUMNS, np.float32) ** np.float32(rng.uniform(0, 8))
    values[rng.random(COLUMNS) < rng.random() / 4] = 0
    values[: 32 * int(rng.integers(0, 4))] = 0
    return values


@dataclass(frozen=True)
class Count:
    """Weights compared, blocks that differ."""

    weights: int = 0
    different: int = 0

    def __add__(self, other: Count) -> Count:
        """Add both."""
        return Count(self.weights + other.weights, self.different + other.different)


def compare_round(type_: GGMLQuantizationType, found: quantiser.Kernel, weighted: bool, seed: tuple[int, int]) -> Count:
    """Compare one draw of every distribution."""
    rng, total = np.random.default_rng(seed), Count()
    size, n_bytes = GGML_QUANT_SIZES[type_]
    for draw in DISTRIBUTIONS.values():
        rows = np.ascontiguousarray(draw(rng, (ROWS, COLUMNS)), np.float32)
        imatrix = importance(rng) if weighted else None
        out = np.empty(rows.size // size * n_bytes, np.uint8)
        found(quantiser.flat(rows), None if imatrix is None else quantiser.flat(imatrix), out)
        theirs = ggml.quantise(type_, rows, imatrix).reshape(-1, n_bytes)
        wrong = (theirs != out.reshape(-1, n_bytes)).any(axis=1)
        total += Count(rows.size, int(wrong.sum()))
    return total


def compare(type_: GGMLQuantizationType, weighted: bool, options: argparse.Namespace) -> Count:
    """Compare enough weights, on threads: kernels and ggml release the interpreter's lock."""
    found = quantiser.kernel(type_, weighted)
    if found is None:
        raise SystemExit(f"{type_.name}: no kernel here")
    n_rounds = ceil(options.weights / (ROWS * COLUMNS * len(DISTRIBUTIONS)))
    total, told = Count(), time.monotonic()
    with ThreadPoolExecutor(options.threads) as pool:
        seeds = [(options.seed, number) for number in range(n_rounds)]
        for count in pool.map(lambda seed: compare_round(type_, found, weighted, seed), seeds):
            total += count
            if time.monotonic() - told > 30:
                told = time.monotonic()
                print(f"{type_.name}: {total.weights:,} weights, {total.different} different", file=sys.stderr)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=float, default=1e9, help="weights per type, with and without imatrix each")
    parser.add_argument("--types", default=",".join(sorted(type_.name for type_ in quantiser.WEIGHTED)))
    parser.add_argument("--imatrix", choices=("both", "with", "without"), default="both")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=usable_cpus())
    options = parser.parse_args()
    variants = {"both": (False, True), "with": (True,), "without": (False,)}[options.imatrix]
    print(f"{'type':8} {'imatrix':8} {'weights':>14} {'different':>10} {'seconds':>8}", flush=True)
    total = 0
    for name in options.types.split(","):
        for weighted in variants:
            if GGMLQuantizationType[name] not in (quantiser.WEIGHTED if weighted else quantiser.PLAIN):
                continue
            start = time.perf_counter()
            count = compare(GGMLQuantizationType[name], weighted, options)
            seconds = time.perf_counter() - start
            with_ = "with" if weighted else "without"
            numbers = f"{count.weights:14,} {count.different:10,} {seconds:8.0f}"
            print(f"{name:8} {with_:8} {numbers}", flush=True)
            total += count.different
    sys.exit(total > 0)


if __name__ == "__main__":
    main()
