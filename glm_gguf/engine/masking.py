"""Bit masks over the vocabulary, applied to logits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from glm_gguf.engine.constraint_protocol import mask_words
from glm_gguf.errors import EngineError


def forbid(logits: npt.NDArray[np.float32], mask: npt.NDArray[np.uint32]) -> None:
    """Set the logits of tokens whose bit is 0 to minus infinity, in place; EngineError for a mask that cannot be."""
    if mask.dtype != np.uint32 or mask.shape != (mask_words(len(logits)),):
        raise EngineError(f"a mask of {mask.shape} {mask.dtype} for a vocabulary of {len(logits)}")
    bits = np.unpackbits(mask.astype("<u4", copy=False).view(np.uint8), count=len(logits), bitorder="little")
    if not bits.any():
        raise EngineError("the constraint allows no token at all")
    logits[bits == 0] = -np.inf
