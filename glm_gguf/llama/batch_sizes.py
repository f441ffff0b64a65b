"""How many tokens one batch computes: of one request, of several, and of prompts beside answers."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Final, Self

from glm_gguf.llama.context_size import ContextSize
from glm_gguf.llama.engine_options import EngineOptions

LARGE_BATCH: Final = 512
"""Tokens. On a GPU it is the default; with AVX-512 it is the default of a single request, whose prefill gets up to a
twelfth faster than by 128."""
SHARED_BATCH: Final = 128
"""Tokens: the default on a CPU. A new request waits for the batch under way, so a larger one would delay it."""
OUTPUT_CHUNK: Final = 32
"""Tokens embedded or scored at once: llama.cpp keeps a row of logits for each, 0.6 MB at GLM's vocabulary."""


@dataclass(frozen=True, slots=True)
class BatchSizes:
    """Most tokens of a batch."""

    alone: int
    """While there is one request: EngineOptions.n_batch."""
    shared: int
    """While there are several requests. On a CPU that is SHARED_BATCH, unless n_batch is given."""
    beside_answers: int
    """Prompt tokens beside answers: EngineOptions.n_chunk. While any answer is in decode, all prefill gets no more."""

    @classmethod
    def of(cls, options: EngineOptions, size: ContextSize, *, on_gpu: bool, cpu_features: Set[str]) -> Self:
        """Decide the sizes: a batch is no larger than the context, and has a token for every sequence."""
        if options.n_batch is not None:
            wanted = options.n_batch, options.n_batch
        elif on_gpu:
            wanted = LARGE_BATCH, LARGE_BATCH
        else:
            wanted = LARGE_BATCH if "AVX512" in cpu_features else SHARED_BATCH, SHARED_BATCH
        alone, shared = (max(min(n_batch, size.n_cells), size.n_running) for n_batch in wanted)
        return cls(alone, shared, options.n_chunk)
