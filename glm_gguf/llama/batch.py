"""The tokens of one llama_decode: numpy arrays that llama.cpp reads."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from glm_gguf.errors import EngineError
from glm_gguf.llama.library import llama_cpp


class Batch:
    """Owner of the arrays of a llama_batch: `add` tokens of sequences, decode it, `clear` it."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._tokens = np.zeros(capacity, np.int32)
        self._positions = np.zeros(capacity, np.int32)
        self._sequences = np.zeros(capacity, np.int32)
        self._counts = np.ones(capacity, np.int32)
        self._outputs = np.zeros(capacity, np.int8)
        # seq_id[i] points to the sequences of token i: here one, the i-th of an array.
        addresses = self._sequences.ctypes.data + self._sequences.itemsize * np.arange(capacity)
        self._addresses = addresses.astype(np.uintp)
        self.raw = llama_cpp.llama_batch()
        self.raw.token = _pointer(self._tokens, ctypes.c_int32)
        self.raw.pos = _pointer(self._positions, ctypes.c_int32)
        self.raw.n_seq_id = _pointer(self._counts, ctypes.c_int32)
        self.raw.seq_id = _pointer(self._addresses, ctypes.POINTER(ctypes.c_int32))
        self.raw.logits = _pointer(self._outputs, ctypes.c_int8)

    def __len__(self) -> int:
        return int(self.raw.n_tokens)

    @property
    def n_outputs(self) -> int:
        """Tokens that get logits."""
        return int(np.count_nonzero(self._outputs[: len(self)]))

    def clear(self) -> None:
        """Remove all tokens."""
        self.raw.n_tokens = 0

    def add(self, sequence: int, position: int, tokens: Sequence[int], *, outputs: int) -> int:
        """Append tokens at a position of a sequence; the last `outputs` of them get logits. Returns the last row."""
        start, end = len(self), len(self) + len(tokens)
        if not start < end <= self.capacity:
            raise EngineError(f"{len(tokens)} tokens do not fit into a batch of {self.capacity} that holds {start}")
        self._tokens[start:end] = tokens
        self._positions[start:end] = np.arange(position, position + len(tokens))
        self._sequences[start:end] = sequence
        self._outputs[start:end] = 0
        self._outputs[end - outputs : end] = 1
        self.raw.n_tokens = end
        return end - 1


def _pointer(array: np.ndarray[Any, Any], kind: type[Any]) -> Any:
    """Return a C pointer to an array's memory."""
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))
