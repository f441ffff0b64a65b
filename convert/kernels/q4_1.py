"""Q4_1 with an importance matrix: twin of quantize_row_q4_1_impl (ggml-quants.c). Without one, ggml is as fast."""

from __future__ import annotations

import numpy as np

from glm_gguf.convert.kernels import legacy
from glm_gguf.convert.kernels.affine import factors
from glm_gguf.convert.kernels.compiled import kernel
from glm_gguf.convert.kernels.half import put_half
from glm_gguf.convert.kernels.lanes import WIDTH, Bytes, Floats

BYTES = 20
HIGHEST = np.float32(15)
NUMERATORS = factors(15, -0.9, 0.05, 36)


@kernel
def quantise_weighted(rows: Floats, importance: Floats, out: Bytes) -> None:
    """Quantise rows (n · 32,) to out (n · 20,)."""
    scratch = legacy.make_scratch(rows, len(importance))
    for first in range(0, len(rows) // legacy.SIZE, WIDTH):
        count = legacy.load_blocks(scratch, rows, importance, first)
        legacy.fit_affine(scratch, HIGHEST, NUMERATORS)
        for lane in range(count):
            block = out[(first + lane) * BYTES : (first + lane + 1) * BYTES]
            d, minimum = legacy.halves(scratch, lane)
            put_half(block, 0, d)
            put_half(block, 2, minimum)
            legacy.put_nibbles(scratch, lane, block[4:])
