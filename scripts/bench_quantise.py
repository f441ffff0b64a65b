"""Speed of quantising on one core, our kernels and ggml: python scripts/bench_quantise.py

Prints millions of weights per second of processor time, in which other processes do not count: the median of
alternating repetitions on normal weights cut to bf16, from float32 to bytes in memory.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType

from glm_gguf.convert.kernels import ggml, quantiser

COLUMNS = 4096
OTHERS = ("Q8_0", "F16", "BF16", "TQ1_0", "TQ2_0", "MXFP4")
"""Types without a kernel, for comparison."""


def speed(call: Callable[[], object], n_weights: int) -> float:
    """Measure millions of weights per second of this thread."""
    start = time.thread_time()
    call()
    return n_weights / (time.thread_time() - start) / 1e6


def measure(
    type_: GGMLQuantizationType, rows: npt.NDArray[np.float32], imatrix: npt.NDArray[np.float32] | None, repeats: int
) -> tuple[float, float | None]:
    """Measure ggml and our kernel, None if there is none; the slower ggml gets an eighth of the rows."""
    few = rows[: max(1, len(rows) // 8)]
    types = quantiser.PLAIN if imatrix is None else quantiser.WEIGHTED
    found = quantiser.kernel(type_, imatrix is not None) if type_ in types else None
    theirs, ours = [], []
    for _ in range(repeats):
        theirs.append(speed(lambda: ggml.quantise(type_, few, imatrix), few.size))
        if found is not None:
            ours.append(speed(lambda found=found: quantiser.run(found, type_, rows, imatrix), rows.size))
    return statistics.median(theirs), statistics.median(ours) if ours else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=256, help=f"of {COLUMNS} weights")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--types", default=",".join(sorted(type_.name for type_ in quantiser.WEIGHTED) + list(OTHERS)))
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((options.rows, COLUMNS), np.float32) * np.float32(0.02)
    rows = (rows.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    imatrix = rng.random(COLUMNS, np.float32) ** 4
    print(f"{'type':8} {'imatrix':8} {'ggml M/s':>9} {'ours M/s':>9} {'ratio':>6}")
    for name in options.types.split(","):
        type_ = GGMLQuantizationType[name]
        for weights in (None, imatrix):
            if weights is None and ggml.requires_imatrix(type_):
                continue
            theirs, ours = measure(type_, rows, weights, options.repeats)
            numbers = f"{'-':>9} {'-':>6}" if ours is None else f"{ours:9.1f} {ours / theirs:6.1f}"
            print(f"{name:8} {'without' if weights is None else 'with':8} {theirs:9.1f} {numbers}", flush=True)


if __name__ == "__main__":
    main()
