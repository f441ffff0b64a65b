"""Which devices compute a loaded model, and what it takes of memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from glm_gguf.llama.load_plan import LoadPlan


@dataclass(frozen=True, slots=True)
class Footprint:
    """Layers of a model on GPUs and in all, the output counted as one; bytes of its weights and of its KV cache."""

    gpus: tuple[str, ...]
    """GPUs and workers that hold layers, by llama.cpp's names or their addresses, and their makers' names."""
    workers: tuple[str, ...]
    """Addresses of workers; the model is lost where one of them is."""
    device_word: str
    """What these are: GPU, worker, or both."""
    n_on_gpus: int
    n_layers: int
    weights: int
    cache: int
    n_cells: int
    """Tokens that the KV cache holds, of all conversations together."""
    n_ctx: int
    """Tokens of the longest conversation."""
    n_trained: int
    """Tokens of a conversation that the model was trained for."""
    n_parallel: int
    threads: int
    main_memory: int
    """Bytes in main memory when all is loaded and used."""
    memory: int | None
    """Bytes of main memory that were free before the model was loaded; None where nothing tells."""
    given_up: tuple[str, ...]
    """What that memory did not allow, in words: a longer context, cells of f16, larger batches."""

    @classmethod
    def of(cls, plan: LoadPlan) -> Self:
        """Take the figures of a plan."""
        return cls(
            gpus=plan.offload.gpu_names,
            workers=tuple(str(link.address) for link in plan.workers.links),
            device_word=plan.offload.device_word,
            n_on_gpus=plan.offload.n_on_gpus,
            n_layers=plan.offload.n_layers,
            weights=plan.need.weights,
            cache=plan.need.cache,
            n_cells=plan.size.n_cells,
            n_ctx=plan.size.n_ctx,
            n_trained=plan.size.n_trained,
            n_parallel=plan.options.n_parallel,
            threads=plan.threads,
            main_memory=plan.main_memory,
            memory=plan.memory,
            given_up=plan.given_up,
        )
