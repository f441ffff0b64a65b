"""How a model is loaded and run: one value, one default a field."""

from __future__ import annotations

from dataclasses import dataclass, field

from glm_gguf.cpus import usable_cpus
from glm_gguf.errors import RequestError

DEFAULT_CONTEXT = 8192  # tokens; at most 2 GB of KV cache on the largest of the models (Rumination, f16)
MOST_BATCH = 8192


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Context and batch in tokens; None for n_ctx is the model's own length, up to DEFAULT_CONTEXT."""

    n_ctx: int | None = None
    n_batch: int = 512
    """Tokens of a prompt that are computed at once."""
    threads: int = field(default_factory=usable_cpus)
    gpu_layers: int = -1
    """Layers computed on a GPU, where llama.cpp was built for one; -1 is all of them."""

    def __post_init__(self) -> None:
        if self.n_ctx is not None and self.n_ctx < 1:
            raise RequestError(f"a context of {self.n_ctx} tokens", where="n_ctx", fix="give a positive number")
        if not 1 <= self.n_batch <= MOST_BATCH:
            raise RequestError(f"a batch of {self.n_batch} tokens", where="n_batch", fix=f"give 1 to {MOST_BATCH}")
        if not 1 <= self.threads <= 512:  # GGML_MAX_N_THREADS of ggml-cpu.h
            raise RequestError(f"{self.threads} threads", where="threads", fix="give 1 to 512")
        if self.gpu_layers < -1:
            raise RequestError(f"{self.gpu_layers} layers", where="gpu_layers", fix="give -1 for all, or a number")
