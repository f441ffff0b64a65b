"""How many bytes a second this machine reads from main memory, which bounds the rate of decode."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np

PER_THREAD: Final = 2**27
MOST: Final = 2**30
LEAST: Final = 2**28
"""Bytes that one pass reads, several times the cache of most CPUs."""
SECONDS: Final = 0.25
LEAST_PASSES: Final = 3


def measure_bandwidth(threads: int, available: int | None) -> float:
    """Measure the bytes a second that so many threads read together, in the fastest of several passes.

    The memory that it reads takes a sixteenth of the `available` bytes at most.
    """
    wanted = min(MOST, max(LEAST, PER_THREAD * threads))
    n_items = max(1, min(wanted, wanted if available is None else available // 16) // threads // 8)
    with ThreadPoolExecutor(threads) as pool:
        # numpy releases the interpreter's lock in both calls
        arrays = list(pool.map(lambda _: np.full(n_items, 1, np.int64), range(threads)))
        passes: list[float] = []
        while len(passes) < LEAST_PASSES or sum(passes) < SECONDS:
            start = time.perf_counter()
            list(pool.map(np.max, arrays))
            passes.append(time.perf_counter() - start)
    return 8 * n_items * threads / min(passes)
