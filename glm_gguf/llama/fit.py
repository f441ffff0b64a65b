"""Which files and contexts fit on a machine, and which of them to take; decided from load plans, nothing is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from glm_gguf.errors import RequestError
from glm_gguf.gguf_file.parts import GgufParts
from glm_gguf.llama.context_size import ContextSize
from glm_gguf.llama.engine_options import DEFAULT_CONTEXT, EngineOptions
from glm_gguf.llama.kernel_rates import KernelRates
from glm_gguf.llama.load_plan import LoadPlan, Machine

CONTEXTS: Final = (4096, 8192, 32768, 131072)
"""Tokens: the contexts that are tried, as far as the model knows them, beside its own."""


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
    """The part of all this in main memory, with what the process takes beside it."""
    memory_free: int | None
    for_others: int
    """Of the free memory, what a size of our own choice leaves free."""
    n_on_gpus: int
    n_layers: int
    streamed: bool
    """Memory holds all but the weights, which would be read from the file again and again."""
    given_up: tuple[str, ...]
    """What the memory did not allow, in words."""
    rates: KernelRates | None

    @classmethod
    def of(
        cls, contents: GgufParts, options: EngineOptions, machine: Machine, rates: KernelRates | None = None
    ) -> Self:
        """Count what loading with these options takes; raises what `LoadPlan.estimate` raises."""
        plan = LoadPlan.estimate(contents, options, machine)
        return cls(
            n_ctx=plan.size.n_cells,
            weights=plan.need.weights,
            cache=plan.need.cache,
            compute=plan.compute,
            main_memory=plan.main_memory,
            memory_free=machine.memory,
            for_others=machine.for_others,
            n_on_gpus=plan.offload.n_on_gpus,
            n_layers=plan.offload.n_layers,
            streamed=plan.fits is False and plan.fits_streamed,
            given_up=plan.given_up,
            rates=rates,
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
        """Whether a fit leaves other programs less than they should keep."""
        return self.main_memory > (self.memory_free or 0) - self.for_others

    @property
    def answer_rate(self) -> float | None:
        """The tokens a second of an answer when the context is half full; None where nothing was timed."""
        return None if self.rates is None else self.rates.answer_rate(self.n_ctx // 2)

    @property
    def prompt_rate(self) -> float | None:
        """The tokens a second of a prompt that fills half the context; None where nothing was timed."""
        return None if self.rates is None else self.rates.prompt_rate(self.n_ctx // 2)

    def __str__(self) -> str:
        if self.fits is None:
            return "unknown: nothing tells the free memory"
        if not self.fits:
            return "opens, far slower: weights are read again and again" if self.streamed else "does not fit"
        where = f"with {self.n_on_gpus} of {self.n_layers} layers on the GPU" if self.n_on_gpus else ""
        reduced = [text for text in self.given_up if "layers" not in text]
        return ", ".join(["fits " + where if where else "fits", *reduced])


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


def contexts(contents: GgufParts, asked: Sequence[int], options: EngineOptions, machine: Machine) -> tuple[int, ...]:
    """Return the contexts to try, the shortest first; RequestError for one that is longer than the model's own.

    Without any asked for, the one that the model would be opened with is among them.
    """
    size = ContextSize.of(contents, options)
    known = size.n_known
    for n_ctx in asked:
        if n_ctx > known:
            what = f"{n_ctx} tokens are more than the model knows"
            raise RequestError(what, field="n_ctx", fix=f"give up to {known}, or {size.stretch_for(n_ctx)}")
    opened = LoadPlan.estimate(contents, options, machine).size.n_cells
    return tuple(sorted(set(asked) or {opened, known, *(n_ctx for n_ctx in CONTEXTS if n_ctx < known)}))


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
