"""Which files and contexts fit on a machine, and which of them to take; decided from load plans, nothing is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from glm_gguf.errors import RequestError
from glm_gguf.gguf_file.parts import GgufParts
from glm_gguf.llama.context_size import ContextSize
from glm_gguf.llama.cpu_kernels import EMBEDDING
from glm_gguf.llama.engine_options import DEFAULT_CONTEXT, EngineOptions
from glm_gguf.llama.load_plan import LoadPlan, Machine

CONTEXTS: Final = (4096, 8192, 32768, 131072)
"""Tokens: the contexts that are tried, as far as the model knows them, beside its own."""
SPARE_SHARE: Final = 0.1
"""Of the free main memory: a fit with less left over is tight, since other programs take memory too."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What a file takes of memory with a context of `n_ctx` tokens, and whether a machine holds it; sizes in bytes."""

    n_ctx: int
    weights: int
    """The size of the file."""
    cache: int
    compute: int
    """An estimate."""
    main_memory: int
    """The part of all this in main memory, with the allowance that loading asks for."""
    memory_free: int | None
    n_on_gpus: int
    n_layers: int
    read_per_token: int
    """Bytes read for a token of an answer when the context is half full: the weights, less the embedding, and the KV
    cache."""

    @classmethod
    def of(cls, contents: GgufParts, options: EngineOptions, machine: Machine) -> Self:
        """Count what loading with these options takes; raises what `LoadPlan.estimate` raises."""
        plan = LoadPlan.estimate(contents, options, machine)
        need = plan.need
        return cls(
            n_ctx=plan.size.n_cells,
            weights=need.weights,
            cache=need.cache,
            compute=plan.compute,
            main_memory=plan.main_memory,
            memory_free=machine.memory,
            n_on_gpus=plan.offload.n_on_gpus,
            n_layers=plan.offload.n_layers,
            read_per_token=need.weights - _looked_up(contents) + need.cell * (plan.size.n_cells // 2),
        )

    @property
    def total(self) -> int:
        """Bytes of weights, KV cache and compute buffers, wherever they are."""
        return self.weights + self.cache + self.compute

    @property
    def fits(self) -> bool | None:
        """Whether main memory holds what no GPU does; None where nothing tells what is free."""
        return None if self.memory_free is None else self.main_memory <= self.memory_free

    @property
    def all_on_gpu(self) -> bool:
        """Whether GPUs compute all layers."""
        return self.n_on_gpus == self.n_layers

    @property
    def is_tight(self) -> bool:
        """Whether a fit leaves less than SPARE_SHARE of the free main memory."""
        return self.main_memory > (1 - SPARE_SHARE) * (self.memory_free or 0)

    def answer_rate(self, bandwidth: float) -> float | None:
        """Estimate the tokens a second of an answer from the bytes a second of main memory; None for layers on GPUs.

        Decode reads all weights for every token. It is slower where computing takes longer than reading.
        """
        return None if self.n_on_gpus else bandwidth / self.read_per_token

    def __str__(self) -> str:
        if self.fits is None:
            return "unknown: nothing tells the free memory"
        if not self.fits:
            return "does not fit"
        return f"fits with {self.n_on_gpus} of {self.n_layers} layers on the GPU" if self.n_on_gpus else "fits"


@dataclass(frozen=True, slots=True)
class Choice:
    """A file type with one context, or a file that is there already (`type` is None)."""

    type: str | None
    fit: Fit
    disk_free: int | None = None
    """Free bytes where the file would be written; None for a file that is there already."""

    @property
    def fits_disk(self) -> bool:
        """Whether the disk has room for the file."""
        return self.disk_free is None or self.fit.weights <= self.disk_free


def contexts(contents: GgufParts, asked: Sequence[int]) -> tuple[int, ...]:
    """Return the contexts to try, the shortest first; RequestError for one that is longer than the model's own."""
    known = ContextSize.of(contents, EngineOptions()).n_known
    for n_ctx in asked:
        if n_ctx > known:
            what = f"{n_ctx} tokens are more than the model knows"
            raise RequestError(what, field="n_ctx", fix=f"give up to {known}")
    return tuple(sorted(set(asked) or {known, *(n_ctx for n_ctx in CONTEXTS if n_ctx < known)}))


def best(choices: Sequence[Choice]) -> Choice | None:
    """Return the choice to recommend; None where nothing fits.

    Room to spare comes first. Then come a context of DEFAULT_CONTEXT, or the longest asked for below it, all layers on
    a GPU where that is possible, the largest weights, and the longest context.
    """

    def rank(choice: Choice) -> tuple[int, ...]:
        fit = choice.fit
        return (not fit.is_tight, min(fit.n_ctx, DEFAULT_CONTEXT), fit.all_on_gpu, fit.weights, fit.n_ctx)

    return max((choice for choice in choices if choice.fit.fits and choice.fits_disk), key=rank, default=None)


def least(choices: Sequence[Choice]) -> Choice:
    """Return the choice that asks for the least main memory."""
    return min(choices, key=lambda choice: (choice.fit.main_memory, choice.fit.total))


def _looked_up(contents: GgufParts) -> int:
    """Count the bytes of an embedding of which a token reads one row; 0 where it is the output's matrix too."""
    if all(tensor.name != "output.weight" for tensor in contents.tensors):
        return 0
    return sum(tensor.n_bytes for tensor in contents.tensors if tensor.name == EMBEDDING)
