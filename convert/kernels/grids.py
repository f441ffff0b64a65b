"""Grids of the i-quants: their points, and for every point beside a grid the points that ggml compares.

The points come from ggml: it dequantises blocks that hold every index, and the ranks of the values are the levels. A
digest tells whether they are the recorded ones. The lists of neighbours follow from the points (iq2xs_init_impl and
iq3xs_init_impl, ggml-quants.c): all points at the smallest distances, nearer ones first.

A second list lacks points that cannot win. The search takes it while each value x / scale lies well inside its level,
or beyond the lowest or highest one. A level that is further from there, in whole levels, then is no nearer to the
value. float32 keeps that order through scale · level - x, its weighted square and the sum. So a point that is further
in each dimension in which it differs from an earlier point has no smaller sum, and ggml takes the first of equal sums.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, wraps
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType

from glm_gguf.convert.kernels import ggml
from glm_gguf.convert.kernels.codes import FEW, Codes
from glm_gguf.convert.kernels.compiled import kernel, subroutine
from glm_gguf.convert.kernels.lanes import Bytes

Ints = npt.NDArray[np.int32]
Levels = npt.NDArray[np.int64]


class Grid(NamedTuple):
    """What a search reads. A code packs the levels of a point, the same number of bits each."""

    starts: Ints
    """(2 · codes + 1,): where the list of each code begins in `lists`. The second half are the complete lists."""
    lists: Codes
    """Codes of points, padded to a multiple of FEW with the list's first."""
    indices: npt.NDArray[np.int16]
    """(codes,): ggml's index of a point, -1 beside the grid."""


@dataclass(frozen=True, slots=True)
class Form:
    """A grid as ggml declares it."""

    type: GGMLQuantizationType
    dims: int
    bits: int
    shells: int
    """How many distances neighbours have: nwant."""
    digest: str
    """SHA-256 of the levels (points, dims) as bytes."""


def grid_of(form: Form, blocks: Bytes) -> Grid:
    """The grid whose points `blocks` hold in the order of their indices; raises RuntimeError if ggml has another."""
    values = ggml.dequantise(form.type, blocks).reshape(-1, form.dims)
    found, ranks = np.unique(values, return_inverse=True)
    levels = ranks.reshape(values.shape).astype(np.int64)
    if sha256(levels.astype(np.uint8).tobytes()).hexdigest() != form.digest:
        raise RuntimeError(f"ggml has another grid of {form.type.name}")
    codes = (levels << form.bits * np.arange(form.dims)).sum(axis=1).astype(np.uint16)
    n_codes = 1 << form.bits * form.dims
    indices = np.full(n_codes, -1, np.int16)
    indices[codes] = np.arange(len(codes))
    starts, shape = np.zeros(2 * n_codes + 1, np.int32), (form.bits, len(found), form.shells)
    lists = np.zeros(_fill_lists(levels, codes, shape, starts, np.zeros(0, np.uint16)), np.uint16)
    _fill_lists(levels, codes, shape, starts, lists)
    return Grid(starts, lists, indices)


def with_grid(compiled: Callable[..., None], grid: Callable[[], Grid]) -> Callable[..., None]:
    """A kernel that takes (…, grid, out) as one that takes (…, out); the grid is made at the first call."""
    made = cache(grid)

    @wraps(compiled)
    def quantise(*given: Any) -> None:
        compiled(*given[:-1], made(), given[-1])

    return quantise


@subroutine
def _never_wins(a: Levels, points: Levels, kept: Ints, n_kept: int, levels: Levels) -> bool:
    """Whether an earlier point is nearer to `levels` in each dimension in which it differs from point `a`."""
    for k in range(n_kept):
        b = points[kept[k]]
        nearer = True
        for i in range(len(a)):
            if a[i] != b[i] and abs(b[i] - levels[i]) >= abs(a[i] - levels[i]):
                nearer = False
        if nearer:
            return True
    return False


@subroutine
def _neighbours(points: Levels, levels: Levels, shells: int, distances: Ints, found: Ints) -> int:
    """Points at the smallest `shells` distances from `levels`, nearer ones first, then by index; returns how many."""
    for j in range(len(points)):
        distances[j] = 0
        for i in range(len(levels)):
            distances[j] += (points[j, i] - levels[i]) ** 2
    n, last = 0, -1
    for _ in range(shells):
        following = 1 << 20
        for distance in distances:
            if last < distance < following:
                following = distance
        for j in range(len(points)):
            if distances[j] == following:
                found[n] = j
                n += 1
        last = following
        if last == 0:  # a point of the grid is alone
            break
    return n


@kernel
def _fill_lists(points: Levels, codes: Codes, form: tuple[int, int, int], starts: Ints, lists: Codes) -> int:
    """Write the list of every code; `form` is bits, levels, shells. Returns their length, also if `lists` is empty."""
    bits, n_levels, shells = form
    dims, n_codes, at = points.shape[1], len(starts) // 2, 0
    distances, found = np.zeros(len(points), np.int32), np.zeros(len(points), np.int32)
    kept, levels = np.zeros(len(points), np.int32), np.zeros(dims, np.int64)
    for n in range(2 * n_codes):
        starts[n] = at
        for i in range(dims):
            levels[i] = n >> bits * i & (1 << bits) - 1
        if levels.max() >= n_levels:
            continue
        n_kept = 0
        for k in range(_neighbours(points, levels, shells, distances, found)):
            if n >= n_codes or not _never_wins(points[found[k]], points, kept, n_kept, levels):
                kept[n_kept] = found[k]
                n_kept += 1
        padded = (n_kept + FEW - 1) // FEW * FEW
        for k in range(padded if len(lists) else 0):
            lists[at + k] = codes[kept[k if k < n_kept else 0]]
        at += padded
    starts[2 * n_codes] = at
    return at
