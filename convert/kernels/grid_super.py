"""Super-blocks of the types whose levels are points of a grid: gathered, weighed, searched block by block, packed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from glm_gguf.convert.kernels.blocks import SUPER, gather, gather_importance, sum_of_squares, weigh_by_importance
from glm_gguf.convert.kernels.compiled import kernel
from glm_gguf.convert.kernels.grid_blocks import Scratch, make_scratch
from glm_gguf.convert.kernels.grids import Grid
from glm_gguf.convert.kernels.lanes import WIDTH, Bytes, Floats, load, store

Fit = Callable[[Scratch, int, Grid], None]
"""Set scale, codes and signs of block j of every lane."""

Pack = Callable[[Scratch, Grid, int, Bytes], None]
"""Write the super-block of a lane."""


def weighted_kernel(
    type_: str, size: int, dims: int, sigma: np.float32, fit: Fit, pack: Pack
) -> Callable[[Floats, Floats, Grid, Bytes], None]:
    """A kernel over rows (n · 256,), importance (columns,), grid and out; sigma2 is `sigma` times the mean of x²."""
    share = sigma / np.float32(SUPER)

    def quantise_weighted(rows: Floats, importance: Floats, grid: Grid, out: Bytes) -> None:
        scratch = make_scratch(size, dims)
        n_bytes = len(out) // (len(rows) // SUPER)
        for first in range(0, len(rows) // SUPER, WIDTH):
            count = gather(rows, first, scratch.x)
            gather_importance(importance, first, count, scratch.weights)
            weigh_by_importance(scratch.x, scratch.weights, sum_of_squares(scratch.x) * share, scratch.weights)
            for j in range(SUPER // size):
                fit(scratch, j, grid)
            for lane in range(count):
                pack(scratch, grid, lane, out[(first + lane) * n_bytes : (first + lane + 1) * n_bytes])

    return kernel(quantise_weighted, type_)


def plain_kernel(type_: str, size: int, dims: int, fit: Fit, pack: Pack) -> Callable[[Floats, Grid, Bytes], None]:
    """The same without importance: weights are x²."""

    def quantise(rows: Floats, grid: Grid, out: Bytes) -> None:
        scratch = make_scratch(size, dims)
        n_bytes = len(out) // (len(rows) // SUPER)
        for first in range(0, len(rows) // SUPER, WIDTH):
            count = gather(rows, first, scratch.x)
            for i in range(SUPER):
                store(scratch.weights, i, load(scratch.x, i) * load(scratch.x, i))
            for j in range(SUPER // size):
                fit(scratch, j, grid)
            for lane in range(count):
                pack(scratch, grid, lane, out[(first + lane) * n_bytes : (first + lane + 1) * n_bytes])

    return kernel(quantise, type_)
