"""The search for the scale of a block whose levels are points of a grid: IQ3's and IQ2's.

Blocks stand across lanes while levels and sums are computed. The points that compete for a group's values then stand
across lanes, for one block after another.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from glm_gguf.convert.kernels.blocks import ONE, ZERO
from glm_gguf.convert.kernels.codes import FEW, entry, first_least, lane_of, load_codes, odd_value
from glm_gguf.convert.kernels.compiled import inlined
from glm_gguf.convert.kernels.grid_blocks import Scratch, Shape, finish, split_signs
from glm_gguf.convert.kernels.grids import Grid
from glm_gguf.convert.kernels.half import HALF
from glm_gguf.convert.kernels.lanes import (
    WIDTH,
    Floats,
    Lanes,
    Mask,
    absolute,
    any_true,
    fill,
    load,
    nearest,
    select,
    store,
)

INSIDE = np.float32(0.5 - 2.0**-10)
"""Farther from its level than this, a value counts as near a border: rounding errors are a thousandth of the rest."""
SMALL = np.float32(2.0**-100)
"""The products of a smaller scale may have lost bits."""


@inlined
def _between(value: Lanes, highest: np.float32) -> Lanes:
    value = select(value < highest, value, highest)
    return select(value > ZERO, value, ZERO)


@inlined
def _store_points(scratch: Scratch, shape: Shape, scale: Lanes, inverse: Lanes) -> None:
    """The codes of the levels at `inverse`, which is 1 / scale."""
    radix = np.float32(1 << shape.bits)
    limit = select(scale > SMALL, INSIDE, -ONE)
    for k in range(len(scratch.points)):
        point, border = fill(ZERO), fill(ZERO)
        for i in range(shape.dims - 1, -1, -1):
            value = HALF * (inverse * load(scratch.sizes, k * shape.dims + i) - ONE)
            level = _between(nearest(value), shape.highest)
            border = select(absolute(_between(value, shape.highest) - level) > limit, ONE, border)
            point = point * radix + level
        store(scratch.points, k, point + border * np.float32(1 << shape.bits * shape.dims))


class Compared(NamedTuple):
    """What is compared with points: codes that were rounded, values and their weights, (groups or values, WIDTH)."""

    points: Floats
    """Codes of the nearest levels; those near a border are in the upper half."""
    values: Floats
    weights: Floats


class Step(NamedTuple):
    """A level of a point stands for scale · (factor · (2 · level + 1) - offset)."""

    scale: np.float32
    factor: np.float32
    offset: np.float32


@inlined
def _square(compared: Compared, bits: int, at: tuple[int, int, int], step: Step, codes: Lanes) -> Lanes:
    """Weighted squared distance of one value, `at` = (dimension, row, lane), from the levels of `codes`."""
    i, row, lane = at
    point = odd_value(codes, i * bits, (1 << bits) - 1) * step.factor - step.offset
    difference = step.scale * point - entry(compared.values, row + i, lane)
    return entry(compared.weights, row + i, lane) * difference * difference


@inlined
def _distances(compared: Compared, shape: tuple[int, int], at: tuple[int, int], step: Step, codes: Lanes) -> Lanes:
    """Weighted squared distances of a group's values, `at` = (row, lane), from the points of `codes`."""
    dims, bits = shape
    n, lane = at
    first = _square(compared, bits, (0, n, lane), step, codes) + _square(compared, bits, (1, n, lane), step, codes)
    four = (
        first + _square(compared, bits, (2, n, lane), step, codes) + _square(compared, bits, (3, n, lane), step, codes)
    )
    if dims == 4:
        return four
    six = four + _square(compared, bits, (4, n, lane), step, codes) + _square(compared, bits, (5, n, lane), step, codes)
    return six + _square(compared, bits, (6, n, lane), step, codes) + _square(compared, bits, (7, n, lane), step, codes)


@inlined
def closest(compared: Compared, shape: tuple[int, int], at: tuple[int, int], step: Step, grid: Grid) -> int:
    """The code of the closest point to a group, `at` = (group, lane), the first of equals; `shape` is dims and bits.

    ggml's iq3_find_best_neighbour, iq2_find_best_neighbour and iq1_find_best_neighbour2.
    """
    code = np.uint64(entry(compared.points, at[0], at[1]))
    at = (at[0] * shape[0], at[1])
    start, end = grid.starts[code], grid.starts[code + np.uint64(1)]
    distances = _distances(compared, shape, at, step, load_codes(grid.lists, start))
    lane = first_least(distances)
    best, least = start + lane, lane_of(distances, lane)
    for following in range(start + FEW, end, FEW):
        distances = _distances(compared, shape, at, step, load_codes(grid.lists, following))
        lane = first_least(distances)
        distance = lane_of(distances, lane)
        if distance < least:
            best, least = following + lane, distance
    return int(grid.lists[np.uint64(best)])


@inlined
def _closest(scratch: Scratch, shape: Shape, at: tuple[int, int], grid: Grid) -> int:
    """The code of the closest point to a group's sizes at the lane's scale."""
    compared = Compared(scratch.points, scratch.sizes, scratch.roots)
    return closest(compared, (shape.dims, shape.bits), at, Step(entry(scratch.steps, 0, at[1]), ONE, ZERO), grid)


@inlined
def _sums(scratch: Scratch, shape: Shape, codes: Floats, weights: Floats) -> tuple[Lanes, Lanes]:
    """Σ w·x·q and Σ w·q²."""
    mask = (1 << shape.bits) - 1
    sum_qx, sum_q2 = fill(ZERO), fill(ZERO)
    for k in range(len(codes)):
        for i in range(shape.dims):
            q, weight = odd_value(load(codes, k), i * shape.bits, mask), load(weights, k * shape.dims + i)
            sum_qx = sum_qx + weight * load(scratch.sizes, k * shape.dims + i) * q
            sum_q2 = sum_q2 + weight * q * q
    return sum_qx, sum_q2


@inlined
def _search_again(scratch: Scratch, shape: Shape, codes: Floats, scale: Lanes, grid: Grid) -> Lanes:
    """Search groups with the scale that was found; returns 1 for the lanes in which that was done."""
    beside = fill(ZERO)
    for k in range(len(codes)):
        beside = select(load(scratch.on_grid, k) == ONE, beside, ONE)
    again = (scale > ZERO) & (beside > ZERO)
    _store_points(scratch, shape, scale, ONE / scale)
    store(scratch.steps, 0, scale)
    store(scratch.steps, 1, select(again, ONE, ZERO))
    for lane in range(WIDTH):
        if scratch.steps[1, lane] > ZERO:
            for k in range(len(codes)):
                if shape.all_groups or scratch.on_grid[k, lane] == ZERO:
                    codes[k, lane] = _closest(scratch, shape, (k, lane), grid)
    return load(scratch.steps, 1)


@inlined
def _keep(scratch: Scratch, shape: Shape, codes: Floats, better: Mask) -> None:
    """Note the found codes where they are better, and which of them are the nearest levels themselves."""
    upper = np.float32(1 << shape.bits * shape.dims)
    for k in range(len(codes)):
        found, point = load(scratch.found, k), load(scratch.points, k)
        store(codes, k, select(better, found, load(codes, k)))
        on_grid = select((found == point) | (found + upper == point), shape.tracked, ZERO)
        store(scratch.on_grid, k, select(better, on_grid, load(scratch.on_grid, k)))


@inlined
def search(scratch: Scratch, shape: Shape, j: int, start: tuple[Lanes, Lanes], numerators: Floats, grid: Grid) -> Lanes:
    """The scale of block j of largest explained weighted square, and its codes; it may be negative.

    `start` is a first scale, and what each numerator is divided by for the inverse of another.
    """
    groups, size = len(scratch.found), len(scratch.sizes)
    codes, weights = scratch.codes[j * groups : (j + 1) * groups], scratch.weights[j * size : (j + 1) * size]
    for k in range(groups):
        store(codes, k, fill(ZERO))
        store(scratch.on_grid, k, fill(shape.on_grid))
    scale, divisor = start
    best = fill(ZERO)
    for numerator in numerators:
        inverse = numerator / divisor
        _store_points(scratch, shape, ONE / inverse, inverse)
        store(scratch.steps, 0, ONE / inverse)
        for lane in range(WIDTH):
            for k in range(groups):
                scratch.found[k, lane] = _closest(scratch, shape, (k, lane), grid)
        sum_qx, sum_q2 = _sums(scratch, shape, scratch.found, weights)
        better = (sum_q2 > ZERO) & (sum_qx * sum_qx > best * sum_q2)
        if any_true(better):
            scale = select(better, sum_qx / sum_q2, scale)
            best = select(better, scale * sum_qx, best)
            _keep(scratch, shape, codes, better)
    again = _search_again(scratch, shape, codes, scale, grid)
    sum_qx, sum_q2 = _sums(scratch, shape, codes, weights)
    return select((again > ZERO) & (sum_q2 > ZERO), sum_qx / sum_q2, scale)


@inlined
def fit(scratch: Scratch, shape: Shape, j: int, numerators: Floats, grid: Grid) -> None:
    """Scale, codes and signs of block j of every lane."""
    largest = split_signs(scratch, shape, j)
    scale = search(scratch, shape, j, (largest / numerators[len(numerators) // 2], largest), numerators, grid)
    finish(scratch, shape, j, scale, largest < shape.empty)
