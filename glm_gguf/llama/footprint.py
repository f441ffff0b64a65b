"""Where a loaded model is computed, and what it takes of memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from glm_gguf.gguf_file.parts import GgufParts
from glm_gguf.llama.context_parameters import ContextSize
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.memory import memory_need
from glm_gguf.llama.offload import Offload


@dataclass(frozen=True, slots=True)
class Footprint:
    """Layers of a model on GPUs and in all, the output counted as one; bytes of its weights and of its KV cache."""

    gpus: tuple[str, ...]
    """GPUs that hold layers, by llama.cpp's names and their makers'."""
    n_on_gpus: int
    n_layers: int
    weights: int
    cache: int
    n_cells: int
    """Tokens that the KV cache holds, of all conversations together."""
    n_ctx: int
    """Most tokens of one conversation."""
    n_parallel: int
    threads: int

    @classmethod
    def of(cls, contents: GgufParts, options: EngineOptions, offload: Offload) -> Self:
        """Gather what was decided before the model was loaded."""
        need, size = memory_need(contents, options), ContextSize.of(contents, options)
        return cls(
            gpus=tuple(f"{gpu.name} ({gpu.description})" for gpu in offload.gpus) if offload.n_on_gpus else (),
            n_on_gpus=offload.n_on_gpus,
            n_layers=offload.n_layers,
            weights=need.weights,
            cache=need.cache,
            n_cells=size.n_cells,
            n_ctx=size.n_ctx,
            n_parallel=options.n_parallel,
            threads=options.threads,
        )
