"""Which plans main memory does not allow, and the nearest setting that it does."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from glm_gguf.errors import RequestError
from glm_gguf.llama.automatic_options import LEAST_CONTEXT, STEP, Holds, longest_context
from glm_gguf.llama.context_size import ContextSize
from glm_gguf.llama.engine_options import CacheType, EngineOptions
from glm_gguf.llama.memory_need import MemoryNeed, written_size
from glm_gguf.llama.offload import Offload, layers_that_fit

LOGGER = logging.getLogger(__name__)
SMALLER_FILE = "take a smaller quantisation, or close other programs"


class MemoryPlan(Protocol):
    """What a refusal reads of a LoadPlan; sizes are in bytes."""

    @property
    def asked(self) -> EngineOptions:
        """The options as they were given."""

    @property
    def options(self) -> EngineOptions:
        """The options with a decision for each."""

    @property
    def size(self) -> ContextSize:
        """Sizes of the context."""

    @property
    def need(self) -> MemoryNeed:
        """What the model takes."""

    @property
    def offload(self) -> Offload:
        """The layers on GPUs."""

    @property
    def memory(self) -> int | None:
        """Free main memory; None where nothing tells."""

    @property
    def main_memory(self) -> int:
        """Main memory when all is loaded and used."""

    @property
    def streamed_memory(self) -> int:
        """The same, with weights that are read again and again."""

    @property
    def fits(self) -> bool | None:
        """Whether free memory holds all; None where nothing tells."""

    @property
    def fits_streamed(self) -> bool:
        """Whether it holds all but the weights."""


def require_memory(plan: MemoryPlan, decided: Callable[[EngineOptions], MemoryPlan]) -> None:
    """Raise RequestError for a plan that main memory does not hold; `decided` plans other options.

    Mapped weights may exceed the memory: llama.cpp reads them again and again. Copies of them, locked or repacked, have
    to fit.
    """
    if plan.memory is None:
        return
    if plan.main_memory > plan.memory:
        _require_model(plan, decided)
    wanted, cell = plan.asked.n_host_cache or 0, plan.need.cell
    left = max(0, plan.memory - (plan.main_memory if plan.fits else plan.streamed_memory))
    if wanted * cell > left:
        what = f"{wanted} tokens take {written_size(wanted * cell)}, but {written_size(left)} are left beside the model"
        raise RequestError(what, field="n_host_cache", fix=f"give up to {left // cell}, or leave it out")


def require_gpu_memory(plan: MemoryPlan, sizes: Sequence[int]) -> None:
    """Raise RequestError for more layers, of so many bytes each, than GPUs with memory of their own have room for."""
    offload = plan.offload
    rooms = [gpu.memory for gpu in offload.gpus if gpu.memory is not None and not gpu.unified]
    if plan.asked.n_gpu_layers in ("auto", 0) or not rooms or len(rooms) < len(offload.gpus):
        return
    most = layers_that_fit(sizes, rooms)
    if offload.n_on_gpus > most:
        wanted = sum(sizes[-offload.n_on_gpus :])
        what = f"{offload.n_on_gpus} layers take {written_size(wanted)}, and GPUs have {written_size(sum(rooms))} free"
        raise RequestError(what, field="n_gpu_layers", fix=f"up to {most} of {offload.n_layers} fit")


def _require_model(plan: MemoryPlan, decided: Callable[[EngineOptions], MemoryPlan]) -> None:
    """Raise RequestError unless the weights alone are too large, and may be read again and again."""
    least = replace(plan.options, n_ctx=min(plan.size.n_known, LEAST_CONTEXT))
    if not decided(least).fits and plan.fits_streamed:
        sizes = map(written_size, (plan.need.weights, plan.memory or 0))
        LOGGER.warning("%s of weights, %s of memory: reading them again and again is slow", *sizes)
        return
    need = plan.need
    what = (
        f"{written_size(plan.main_memory)} of main memory are needed (weights {written_size(need.weights)}, KV cache "
    )
    what += f"{written_size(need.cache)}, buffers {written_size(need.compute + need.process)}), "
    what += f"but {written_size(plan.memory or 0)} are free"
    field, fix = _nearest(plan, decided)
    raise RequestError(what, field=field, fix=fix)


def _nearest(plan: MemoryPlan, decided: Callable[[EngineOptions], MemoryPlan]) -> tuple[str | None, str]:
    """Return the field to change, and how."""
    asked, options = plan.asked, plan.options
    tests: tuple[Holds, ...] = (lambda tried: decided(tried).fits is True, lambda tried: decided(tried).fits_streamed)
    for holds in tests:
        if asked.n_ctx is not None and holds(replace(options, n_ctx=STEP)):
            most = longest_context(options, STEP, asked.n_ctx, holds)
            smaller = CacheType.Q8_0 not in options.cache_types and options.flash_attention is not False
            return "n_ctx", f"up to {most} tokens fit" + ("; q8_0 as cache type fits more" if smaller else "")
        in_file = replace(options, n_ctx=STEP, mmap=True, mlock=False, repack=None)
        copied = {"mlock": asked.mlock, "mmap": not asked.mmap, "repack": asked.repack}
        if any(copied.values()) and holds(in_file):
            return next(name for name in copied if copied[name]), "leave it out: the weights may stay in the file"
    return None, SMALLER_FILE
