"""Blocks whose levels are points of a grid: sizes and signs before the search, scales after it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from glm_gguf.convert.kernels.blocks import ONE, SUPER, ZERO
from glm_gguf.convert.kernels.compiled import inlined
from glm_gguf.convert.kernels.half import HALF, nearest_int
from glm_gguf.convert.kernels.lanes import WIDTH, Floats, Lanes, Mask, absolute, fill, load, select, square_root, store

SEVEN_SIGNS = np.float32(127)
INFINITE = np.float32(np.inf)


class Shape(NamedTuple):
    """Constants of a search."""

    dims: int
    bits: int
    highest: np.float32
    """Highest level of a weight."""
    empty: np.float32
    """ggml treats a block with nothing larger as zero."""
    even_signs: np.float32
    """1 if an even number of signs is stored, as seven bits of eight weights; else 0."""
    on_grid: np.float32
    """1 if a block counts as on the grid before a scale is found."""
    tracked: np.float32
    """1 if groups on the grid need no second search; 0 if they do."""
    all_groups: bool
    """Whether a second search is for all groups, and not only for those beside the grid."""


class Scratch(NamedTuple):
    """Working memory: values and weights (SUPER, WIDTH), then a block's, then what was found."""

    x: Floats
    weights: Floats
    sizes: Floats
    """(size, WIDTH): |x| of one block; one may be negative where an even number of signs is stored."""
    roots: Floats
    """(size, WIDTH): square roots of the weights."""
    levels: Floats
    """(size, WIDTH): levels of a search that comes before."""
    points: Floats
    """(groups, WIDTH): codes of the nearest levels; those near a border are in the upper half."""
    found: Floats
    """(groups, WIDTH): codes of points of the grid."""
    on_grid: Floats
    """(groups, WIDTH): whether the best levels so far were on the grid themselves."""
    steps: Floats
    """(2, WIDTH): scale, and whether a lane searches."""
    codes: Floats
    """(all groups, WIDTH): the codes that were chosen."""
    signs: Floats
    """(SUPER / 8, WIDTH)"""
    scales: Floats
    """(blocks, WIDTH)"""


def numerators(highest: int, step: float, steps: int) -> Floats:
    """The numerators (2 · steps + 1,) that are tried: highest + step · n for n around 0, in float32."""
    return np.float32(highest) + np.arange(-steps, steps + 1, dtype=np.float32) * np.float32(step)


@inlined
def make_scratch(size: int, dims: int) -> Scratch:
    """Memory for blocks of `size` weights in groups of `dims`."""
    big, block, groups = (SUPER, WIDTH), (size, WIDTH), (size // dims, WIDTH)
    values = np.zeros(big, np.float32), np.zeros(big, np.float32), np.zeros(block, np.float32)
    search = np.zeros(block, np.float32), np.zeros(block, np.float32), np.zeros(groups, np.float32)
    more = (
        np.zeros(groups, np.float32),
        np.zeros(groups, np.float32),
        np.zeros((2, WIDTH), np.float32),
        np.zeros((SUPER // dims, WIDTH), np.float32),
    )
    last = np.zeros((SUPER // 8, WIDTH), np.float32), np.zeros((SUPER // size, WIDTH), np.float32)
    return Scratch(*values, *search, *more, *last)


@inlined
def split_signs(scratch: Scratch, shape: Shape, j: int) -> Lanes:
    """Set sizes, roots of weights and signs of block j; returns the largest size.

    Where an even number of signs is stored, the least important sign of an odd number is wrong.
    """
    largest = fill(-ONE)
    for k in range(j * len(scratch.sizes) // 8, (j + 1) * len(scratch.sizes) // 8):
        odd, least, chosen = fill(ZERO), fill(INFINITE), fill(ZERO)
        for i in range(8):
            value, weight = load(scratch.x, 8 * k + i), load(scratch.weights, 8 * k + i)
            store(scratch.roots, (8 * k + i) % len(scratch.roots), square_root(weight))
            odd = select(value < ZERO, ONE - odd, odd)
            square = weight * value * value
            less = square < least
            chosen, least = select(less, np.float32(i), chosen), select(less, square, least)
        bits = fill(ZERO)
        for i in range(8):
            value = load(scratch.x, 8 * k + i)
            turned = select((odd > ZERO) & (chosen == np.float32(i)), shape.even_signs, ZERO)
            negative = absolute(select(value < ZERO, ONE, ZERO) - turned)
            size = select(value < ZERO, -ONE * value, value)
            size = select(turned > ZERO, -ONE * size, size)
            bits = bits + np.float32(1 << i) * negative
            store(scratch.sizes, (8 * k + i) % len(scratch.sizes), size)
            largest = select(size > largest, size, largest)
        store(scratch.signs, k, select(shape.even_signs * bits > SEVEN_SIGNS, bits - np.float32(128), bits))
    return largest


@inlined
def finish(scratch: Scratch, shape: Shape, j: int, scale: Lanes, empty: Mask) -> None:
    """Store the scale of block j, turned to be positive with all signs; nothing where `empty`."""
    groups, eights = len(scratch.found), len(scratch.sizes) // 8
    turned = scale < ZERO
    highest = SEVEN_SIGNS if shape.even_signs > ZERO else np.float32(255)
    for k in range(j * eights, (j + 1) * eights):
        bits = select(turned, highest - load(scratch.signs, k), load(scratch.signs, k))
        store(scratch.signs, k, select(empty, ZERO, bits))
    for k in range(j * groups, (j + 1) * groups):
        store(scratch.codes, k, select(empty, ZERO, load(scratch.codes, k)))
    store(scratch.scales, j, select(empty, ZERO, select(turned, -ONE * scale, scale)))


@inlined
def largest_scale(scratch: Scratch, lane: int) -> np.float32:
    """The largest scale of a super-block."""
    largest = ZERO
    for j in range(len(scratch.scales)):
        largest = scratch.scales[j, lane] if scratch.scales[j, lane] > largest else largest
    return largest


@inlined
def scale_level(scratch: Scratch, j: int, lane: int, inverse: np.float32) -> int:
    """The four-bit level of a block's scale."""
    return max(0, min(15, nearest_int(HALF * (inverse * scratch.scales[j, lane] - ONE))))
