"""How a model is loaded and run, decided once from its file, the machine and EngineOptions; nothing is loaded here."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Self

from glm_gguf.errors import RequestError
from glm_gguf.gguf_file.parts import GgufParts
from glm_gguf.llama.automatic_options import LEAST_CONTEXT, Holds, automatic_options, smallest_options
from glm_gguf.llama.batch_sizes import BatchSizes
from glm_gguf.llama.context_size import ContextSize
from glm_gguf.llama.cpu_kernels import Cpu, computes_in_tiles, repacks
from glm_gguf.llama.devices import Device, chosen_gpus
from glm_gguf.llama.engine_options import DEFAULT_CONTEXT, CacheType, EngineOptions
from glm_gguf.llama.free_memory import FreeMemory, free_memory
from glm_gguf.llama.lent_devices import NO_WORKERS, Workers
from glm_gguf.llama.library import llama_cpp
from glm_gguf.llama.llama_log import route_log
from glm_gguf.llama.memory_need import MemoryNeed, cell_size, host_cache_size, memory_need, written_size
from glm_gguf.llama.memory_refusal import require_gpu_memory, require_memory
from glm_gguf.llama.offload import Offload, layer_sizes, plan_offload

LOGGER = logging.getLogger(__name__)
STREAMED: Final = 2**28
"""Bytes of memory through which mapped weights are read again and again, where memory does not hold them."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The hardware to compute on, as it is now."""

    gpus: tuple[Device, ...]
    """The GPUs that the options allow."""
    memory: int | None
    """Free bytes of main memory; None where nothing tells. GPUs without memory of their own take theirs from it."""
    cpu: Cpu
    for_others: int = 0
    """Of the free bytes, what a size of our own choice leaves to other programs."""
    workers: Workers = NO_WORKERS
    """Other machines, whose devices are among the GPUs."""

    @classmethod
    def here(cls, options: EngineOptions, workers: Workers = NO_WORKERS) -> Self:
        """Look at this machine, and at what workers lend.

        Raises what `chosen_gpus` raises, and OSError for unreadable libraries of llama.cpp.
        """
        route_log()
        llama_cpp.llama_backend_init()
        # The last device computes the output: its logits need not come over the network.
        machine = cls.of((*workers.devices, *chosen_gpus(options)), free_memory(), Cpu.here())
        if len(machine.gpus) > llama_cpp.llama_max_devices():
            what = f"{len(machine.gpus)} devices are more than llama.cpp's {llama_cpp.llama_max_devices()}"
            raise RequestError(what, field="workers", fix="give fewer, or choose GPUs by devices")
        return replace(machine, workers=workers)

    @property
    def alone(self) -> Machine:
        """The same without workers."""
        own = tuple(gpu for gpu in self.gpus if not gpu.lent)
        return replace(self, gpus=own, workers=NO_WORKERS)

    @classmethod
    def of(cls, gpus: tuple[Device, ...], free: FreeMemory, cpu: Cpu) -> Self:
        """Join what was found.

        macOS makes room for the working set that it recommends, out of what other programs hold: where that is more
        than the free bytes, it counts instead, for CPU and GPU together.
        """
        working_set = max((gpu.memory or 0 for gpu in gpus if gpu.is_apple), default=0)
        if working_set > free.available:
            return cls(gpus, working_set, cpu)
        return cls(gpus, free.available, cpu, free.for_others)


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """All decisions about loading a model and running its context; model handle, context and scheduler follow it."""

    asked: EngineOptions
    """As they were given."""
    options: EngineOptions
    """With a decision where nothing was given: `n_ctx`, `cache_type_k`, `cache_type_v`."""
    size: ContextSize
    batches: BatchSizes
    offload: Offload
    need: MemoryNeed
    repack: bool
    """llama.cpp copies weights into the order that its CPU kernels want."""
    in_tiles: bool
    """Most weights meet a CPU kernel that takes as long for 8 rows of a batch as for 16."""
    n_host_cache: int
    """Tokens of evicted prefixes that main memory keeps."""
    memory: int | None
    """Free bytes of main memory, before loading; None where nothing tells."""
    workers: Workers = NO_WORKERS
    """Open links to other machines that hold layers."""

    @classmethod
    def of(cls, contents: GgufParts, options: EngineOptions, machine: Machine) -> LoadPlan:
        """Decide everything.

        Raises RequestError for a context that the model does not know or memory does not hold, and for layers that no
        GPU has room for; EngineError for a repacking that would crash.
        """
        plan = cls.estimate(contents, options, machine)
        offload = plan.offload
        if options.n_gpu_layers == "auto" and machine.gpus and offload.n_on_gpus < offload.n_layers:
            names = ", ".join(gpu.name for gpu in machine.gpus)
            counts = offload.n_on_gpus, offload.n_layers
            LOGGER.warning("%s: room for %d of %d layers; the CPU computes the others", names, *counts)
        require_memory(plan, lambda tried: cls._decided(contents, tried, options, machine))
        require_gpu_memory(plan, layer_sizes(contents, plan.need.cache))
        return plan

    @classmethod
    def estimate(cls, contents: GgufParts, options: EngineOptions, machine: Machine) -> LoadPlan:
        """Decide everything, whether main memory holds it or not; raises the other errors of `of`."""
        known = ContextSize.of(contents, options).n_known
        decided = None
        for most, holds in cls._wishes(contents, options, machine):
            decided = decided or automatic_options(options, min(known, most), holds)
        return cls._decided(contents, decided or smallest_options(options), options, machine)

    @classmethod
    def _wishes(cls, contents: GgufParts, options: EngineOptions, machine: Machine) -> Iterator[tuple[int, Holds]]:
        """Yield what a choice should hold, the best first, and the longest context to choose for it."""
        spared = 0 if options.n_ctx else machine.for_others
        less = replace(machine, memory=None if machine.memory is None else machine.memory - spared)
        known = DEFAULT_CONTEXT if machine.memory is None else 2**31

        def plan(tried: EngineOptions) -> LoadPlan:
            return cls._decided(contents, tried, options, less)

        if machine.gpus and options.n_gpu_layers == "auto":
            yield known, lambda tried: plan(tried).fits is not False and not plan(tried).offload.cpu_share
            known = DEFAULT_CONTEXT  # layers on a GPU are worth more than a longer context
        yield known, lambda tried: plan(tried).fits is not False
        least = replace(smallest_options(options), n_ctx=min(LEAST_CONTEXT, ContextSize.of(contents, options).n_known))
        if plan(least).fits is False:
            yield known, lambda tried: plan(tried).fits_streamed

    @classmethod
    def _decided(cls, contents: GgufParts, options: EngineOptions, asked: EngineOptions, machine: Machine) -> LoadPlan:
        """Follow options whose context and types are decided."""
        size = ContextSize.of(contents, options)
        cache = cell_size(contents, options) * size.n_cells
        # A device computes in larger batches: whether there is one is known before how many layers it gets.
        batches = BatchSizes.of(options, size, on_gpu=bool(machine.gpus), cpu_features=machine.cpu.features)
        several = len(machine.gpus) > 1
        compute = memory_need(contents, options, size, batches, pipelined=several).compute
        layers, asked_layers = layer_sizes(contents, cache), options.n_gpu_layers
        offload = plan_offload(layers, asked_layers, machine.gpus, machine.memory, compute)
        on_gpu = offload.n_on_gpus > 0
        batches = BatchSizes.of(options, size, on_gpu=on_gpu, cpu_features=machine.cpu.features)
        pipelined = several and not offload.cpu_share
        need = memory_need(contents, options, size, batches, pipelined=pipelined)
        free = machine.memory
        fits = free is None or main_memory(need, offload) <= free
        repack = repacks(contents.tensors, options.repack, machine.cpu, on_gpu=on_gpu, copies_fit=fits)
        left = None if free is None else free - main_memory(need, offload)
        return cls(
            asked=asked,
            options=options,
            size=size,
            batches=batches,
            offload=offload,
            need=need,
            repack=repack,
            in_tiles=computes_in_tiles(contents.tensors, machine.cpu, on_gpu=on_gpu, repacked=repack),
            n_host_cache=host_cache_size(need, options, size.n_cells, left, by_rows=copies_by_rows(options, offload)),
            memory=free,
            workers=machine.workers,
        )

    @property
    def main_memory(self) -> int:
        """Bytes in main memory when all is loaded and used."""
        return main_memory(self.need, self.offload)

    @property
    def fits(self) -> bool | None:
        """Whether the free main memory holds all that belongs there; None where nothing tells what is free."""
        return None if self.memory is None else self.main_memory <= self.memory

    @property
    def fits_streamed(self) -> bool:
        """Whether memory holds everything but weights, which llama.cpp reads from the file again and again."""
        options = self.options
        if not options.mmap or options.mlock or options.repack or self.memory is None:
            return False
        return self.streamed_memory <= self.memory

    @property
    def streamed_memory(self) -> int:
        """Bytes in main memory when llama.cpp reads the weights from the file again and again."""
        weights = int(self.need.weights * self.offload.cpu_share)
        return self.main_memory - weights + min(weights, STREAMED)

    @property
    def given_up(self) -> tuple[str, ...]:
        """What free memory did not allow, in words; empty where everything is as the model's own length wants it."""
        options, size, offload = self.options, self.size, self.offload
        keys, values = options.cache_types
        q8_0 = CacheType.Q8_0 in {options.cache_type_k, options.cache_type_v} - {
            self.asked.cache_type_k,
            self.asked.cache_type_v,
        }
        told = {
            f"{size.n_cells:,} of {size.n_known:,} tokens of context": self.asked.n_ctx is None
            and size.n_cells < size.n_known,
            f"KV cache as {keys} and {values}": q8_0,
            f"batches of {options.n_batch} tokens": options.n_batch != self.asked.n_batch,
            f"{offload.n_on_gpus} of {offload.n_layers} layers on the {offload.device_word}": 0
            < offload.n_on_gpus
            < offload.n_layers
            and options.n_gpu_layers == "auto",
            "weights read from the file again and again": self.fits is False,
        }
        return tuple(text for text, holds in told.items() if holds)

    @property
    def compute(self) -> int:
        """Bytes of llama.cpp's compute buffers on each device, an estimate."""
        return self.need.compute

    @property
    def threads(self) -> int:
        """CPU threads for decode, one token a sequence."""
        return self.options.threads

    @property
    def threads_batch(self) -> int:
        """CPU threads for prefill, more than one token at once."""
        return self.options.threads_batch or self.options.threads

    def lines(self) -> tuple[str, ...]:
        """Write the plan for people, a subject a line."""
        options, size, batches, need = self.options, self.size, self.batches, self.need
        weights = "mapped from the file" if options.mmap else "read into memory"
        if self.repack and self.offload.cpu_share:
            weights += ", repacked for the CPU"
        keys, values = options.cache_types
        beside = min(batches.beside_answers, batches.shared)
        slowly = "; without flash attention workers send each row of values by itself"
        subjects = {
            "weights": f"{written_size(need.weights)}, {weights}",
            "KV cache": f"{written_size(need.cache)} for {size.n_cells:,} tokens, keys {keys}, values {values}",
            "compute buffers": f"{written_size(self.compute)} on each device (an estimate)",
            "layers": str(self.offload),
            "threads": f"{self.threads} for decode, {self.threads_batch} for prefill",
            "n_ctx": f"{size.n_ctx:,} tokens a conversation, {options.n_parallel} answers at once",
            "n_batch": f"{batches.alone} tokens for one request, {batches.shared} for several, "
            f"{beside} prompt tokens beside answers",
            "host cache": f"{self.n_host_cache:,} tokens of evicted prefixes in main memory"
            + slowly * copies_by_rows(options, self.offload),
        }
        return tuple(f"{name:15}  {told}" for name, told in subjects.items())

    def __str__(self) -> str:
        return "\n".join(self.lines())


def main_memory(need: MemoryNeed, offload: Offload) -> int:
    """Return the bytes in main memory: the share of the layers that lies there, and what is there in any case."""
    return int((need.weights + need.cache) * offload.main_share) + need.compute + need.process


def copies_by_rows(options: EngineOptions, offload: Offload) -> bool:
    """Tell whether workers send values row by row: without flash attention llama.cpp keeps them transposed.

    A prefix of GLM-4-9B takes 10,280 messages then, each with its answer, and 80 with flash attention.
    """
    return offload.caches_on_workers and options.flash_attention is False
