"""The twelve bytes of Q4_K and Q5_K that hold eight 6-bit scales and eight 6-bit minimums."""

from __future__ import annotations

from glm_gguf.convert.kernels.affine_super import Scratch
from glm_gguf.convert.kernels.compiled import inlined
from glm_gguf.convert.kernels.lanes import Bytes


@inlined
def put_scales(scratch: Scratch, lane: int, out: Bytes) -> None:
    """Pack the levels of scales and minimums of a lane as quantize_row_q4_K_ref does; a level may fill its byte."""
    for j in range(4):
        out[j] = int(scratch.scale_levels[j, lane])
        out[j + 4] = int(scratch.min_levels[j, lane])
    for j in range(4, 8):
        scale, minimum = int(scratch.scale_levels[j, lane]), int(scratch.min_levels[j, lane])
        out[j + 4] = scale & 15 | (minimum & 15) << 4
        out[j - 4] = out[j - 4] | (scale >> 4) << 6 & 255
        out[j] = out[j] | (minimum >> 4) << 6 & 255


@inlined
def scale_and_minimum(packed: Bytes, j: int) -> tuple[int, int]:
    """get_scale_min_k4 (ggml-quants.c): 6-bit scale and minimum of block j."""
    if j < 4:
        return packed[j] & 63, packed[j + 4] & 63
    return packed[j + 4] & 15 | packed[j - 4] >> 6 << 4, packed[j + 4] >> 4 | packed[j] >> 6 << 4
