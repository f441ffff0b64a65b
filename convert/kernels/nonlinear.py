"""The sixteen values of IQ4_NL and IQ4_XS, and the search for a block's scale: quantize_row_iq4_nl_impl."""

from __future__ import annotations

import numpy as np

from glm_gguf.convert.kernels.blocks import ONE, ZERO
from glm_gguf.convert.kernels.compiled import inlined, subroutine
from glm_gguf.convert.kernels.lanes import WIDTH, Bytes, Floats, Lanes, fill, load, load_at, select, store_bytes
from glm_gguf.convert.kernels.symmetric import farthest

VALUES = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
"""kvalues_iq4nl (ggml-common.h)."""
BORDERS = ((np.array(VALUES[:-1]) + np.array(VALUES[1:])) / 2).astype(np.float32)
"""From these values on, the upper neighbour is nearer. best_index_int8 compares two differences; both are
exact in float32 around the middle, so a comparison with the middle gives the same."""
FLOAT_VALUES = np.array(VALUES, np.float32)
INDICES = np.arange(16, dtype=np.float32)
LOWEST = np.float32(VALUES[0])
NIBBLE = np.float32(16)
STEPS = 7  # ntry


@inlined
def nearest_value(x: Lanes, values: Floats) -> Lanes:
    """values[best_index_int8(x)]; NaN gets the last. `values` (16,) may be any table beside VALUES."""
    found = fill(values[15])
    for k in range(14, -1, -1):
        found = select(x < BORDERS[k], values[k], found)
    return found


@inlined
def _sums(x: Floats, weights: Floats, inverse: Lanes) -> tuple[Lanes, Lanes]:
    """Σ w·q·x and Σ w·q² for the values q nearest to inverse · x."""
    sum_qx, sum_q2 = fill(ZERO), fill(ZERO)
    for i in range(len(x)):
        value = load(x, i)
        q = nearest_value(inverse * value, FLOAT_VALUES)
        weighted = load(weights, i) * q
        sum_qx = sum_qx + weighted * value
        sum_q2 = sum_q2 + weighted * q
    return sum_qx, sum_q2


@subroutine
def search(x: Floats, weights: Floats) -> Lanes:
    """The scale of the largest explained weighted square: the first half of quantize_row_iq4_nl_impl."""
    largest, empty = farthest(x)
    sum_qx, sum_q2 = _sums(x, weights, ONE / (-ONE * largest / LOWEST))
    scale = select(sum_q2 > ZERO, sum_qx / sum_q2, ZERO)
    best = scale * sum_qx
    for step in range(-STEPS, STEPS + 1):
        sum_qx, sum_q2 = _sums(x, weights, (np.float32(step) + LOWEST) / largest)
        better = (sum_q2 > ZERO) & (sum_qx * sum_qx > best * sum_q2)
        scale = select(better, sum_qx / sum_q2, scale)
        best = select(better, scale * sum_qx, best)
    return select(empty, ZERO, scale)


@inlined
def put_levels(x: Floats, inverse: np.float32, out: Bytes) -> None:
    """Levels of 32 weights in 16 bytes: the first half in the low nibbles, the second in the high ones."""
    near = nearest_value(inverse * load_at(x, 0), INDICES)
    far = nearest_value(inverse * load_at(x, WIDTH), INDICES)
    store_bytes(out, 0, near + NIBBLE * far)
