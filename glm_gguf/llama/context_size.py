"""How long a context is: what all conversations share, and the longest one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Self

from glm_gguf.errors import RequestError
from glm_gguf.gguf_file.contents import Contents, model_integer
from glm_gguf.llama.engine_options import DEFAULT_CONTEXT, EngineOptions

MOST_SEQUENCES: Final = 256  # LLAMA_MAX_SEQ of llama-cparams.h
SPARE_SEQUENCES: Final = 3
"""One for a text to embed or score, one for saving a session, one for copies to main memory and back."""


@dataclass(frozen=True, slots=True)
class ContextSize:
    """Sizes of a context, in tokens."""

    n_cells: int
    """Cells of the KV cache, which all sequences share."""
    n_ctx: int
    """The longest conversation."""
    n_known: int
    """The longest conversation that the model knows; no n_ctx gives more."""
    n_trained: int
    """The length that the model was trained on, without any stretching."""
    n_running: int
    """Sequences that llama.cpp computes at once."""

    @classmethod
    def of(cls, contents: Contents, options: EngineOptions) -> Self:
        """Decide the sizes; RequestError for an n_ctx beyond what the model knows."""
        trained = _trained_length(contents)
        known = model_integer(contents.metadata, "context_length") or DEFAULT_CONTEXT
        if options.yarn is not None:
            known = int(trained * options.yarn)
        n_cells = min(known, DEFAULT_CONTEXT) if options.n_ctx is None else options.n_ctx
        if n_cells > known * options.n_parallel:
            most = f"{known} tokens a conversation, {options.n_parallel} of them"
            size = cls(known, known, known, trained, 1)
            fix = f"give up to {known * options.n_parallel} ({most}), or {size.stretch_for(n_cells)}"
            raise RequestError(f"{n_cells} tokens are more than the model knows", field="n_ctx", fix=fix)
        return cls(n_cells, min(n_cells, known), known, trained, options.n_parallel + SPARE_SEQUENCES)

    def stretch_for(self, n_ctx: int) -> str:
        """Say how a conversation may get so many tokens, more than the model was trained for."""
        return f"stretch it with yarn={math.ceil(n_ctx / self.n_trained)}, which makes short texts slightly worse"


def _trained_length(contents: Contents) -> int:
    metadata = contents.metadata
    original = model_integer(metadata, "rope.scaling.original_context_length")
    return original or model_integer(metadata, "context_length") or DEFAULT_CONTEXT
