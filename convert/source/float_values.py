"""Stored weights as float32."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType as Type

from glm_gguf.convert.kernels import ggml
from glm_gguf.convert.source.fp8 import scaled
from glm_gguf.convert.source.safetensors_file import STORAGE, StoredTensor

Stored = npt.NDArray[np.generic]


def to_float32(stored: Stored, dtype: str) -> ggml.Floats:
    """Stored weights (rows, …) as float32 (rows, columns); bf16 is stored as uint16, the upper half of a float32."""
    if dtype not in STORAGE:
        return ggml.dequantise(Type[dtype], np.ascontiguousarray(stored, np.uint8))
    if stored.dtype == np.uint16:
        return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return np.require(stored, np.float32, ("C", "ALIGNED"))  # weights behind a header of odd length are unaligned


def weights(rows: Stored, tensor: StoredTensor, start: int, scales: ggml.Floats | None) -> ggml.Floats:
    """Rows of a tensor from row `start` on as float32 (rows, columns); those of FP8 with all the tensor's `scales`."""
    if scales is None:
        return to_float32(rows, tensor.dtype)
    return scaled(rows.astype(np.uint8, copy=False), start, tensor, scales)
