"""Bit masks over the vocabulary and biases of single tokens, applied to logits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from glm_gguf.engine.constraint import mask_words
from glm_gguf.errors import EngineError, RequestError
from glm_gguf.llama.sampling_params import BIAS, SamplingParams
from glm_gguf.llama.vocabulary import Vocabulary

Mask = npt.NDArray[np.uint32]
"""One bit a token, the lowest of the first word first; 1 allows it."""


def forbid(logits: npt.NDArray[np.float32], mask: Mask) -> None:
    """Set logits [n_vocab] to minus infinity where the mask has 0, in place; EngineError for a malformed mask."""
    if not isinstance(mask, np.ndarray):
        raise EngineError(f"the constraint's allowed() returned {type(mask).__name__}", fix="return an array, or None")
    if mask.dtype != np.uint32 or mask.shape != (mask_words(len(logits)),):
        what = f"the constraint's mask is {mask.dtype} {mask.shape}"
        raise EngineError(what, fix=f"return uint32 ({mask_words(len(logits))},), or None")
    bits = np.unpackbits(np.ascontiguousarray(mask, "<u4").view(np.uint8), count=len(logits), bitorder="little")
    if not bits.any():
        raise EngineError("the constraint's mask allows no token", fix="allow at least one")
    logits[bits == 0] = -np.inf


class Bias:
    """What a request adds to the logits of tokens; minus infinity forbids one."""

    __slots__ = ("_ids", "_values")

    def __init__(self, params: SamplingParams, vocabulary: Vocabulary) -> None:
        values = {token: -np.inf if bias <= BIAS.minimum else bias for token, bias in (params.logit_bias or {}).items()}
        unknown = [token for token in values if token >= vocabulary.size]
        if unknown:
            fix = f"give ids below {vocabulary.size}"
            raise RequestError(f"token {unknown[0]} is not in the vocabulary", field="logit_bias", fix=fix)
        if params.ignore_eos:
            values |= dict.fromkeys(vocabulary.eog_ids, -np.inf)
        self._ids = np.array(list(values), np.int64)
        self._values = np.array(list(values.values()), np.float32)

    def apply(self, logits: npt.NDArray[np.float32]) -> None:
        """Add to logits [n_vocab], in place; perhaps no token is allowed after that."""
        if self._ids.size:
            logits[self._ids] += self._values
