"""Two-bit levels packed as Q2_K and Q3_K do."""

from __future__ import annotations

import numpy as np

from glm_gguf.convert.kernels.blocks import SUPER
from glm_gguf.convert.kernels.compiled import inlined
from glm_gguf.convert.kernels.lanes import WIDTH, Bytes, Floats, load_at, store_bytes

FOUR, SIXTEEN, SIXTY_FOUR = np.float32(4), np.float32(16), np.float32(64)


@inlined
def put_two_bits(row: Floats, out: Bytes) -> None:
    """Pack levels 0 to 3 (256,) into 64 bytes: a byte holds four that lie 32 apart."""
    for j in range(0, SUPER, 128):
        for i in range(j, j + 32, WIDTH):
            low = load_at(row, i) + FOUR * load_at(row, i + 32)
            high = SIXTEEN * load_at(row, i + 64) + SIXTY_FOUR * load_at(row, i + 96)
            store_bytes(out, i - j + j // 4, low + high)
