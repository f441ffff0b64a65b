"""How a model is loaded and run, decided once from its file, the machine and EngineOptions; nothing is loaded here."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Self

import llama_cpp

from glm_gguf.gguf_file.parts import GgufParts
from glm_gguf.llama.batch_sizes import BatchSizes
from glm_gguf.llama.context_size import ContextSize
from glm_gguf.llama.cpu_kernels import Cpu, computes_in_tiles, repacks
from glm_gguf.llama.devices import Device, chosen_gpus
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.llama_log import route_log
from glm_gguf.llama.memory_need import (
    MemoryNeed,
    available_memory,
    compute_buffers,
    host_cache_size,
    memory_need,
    require_memory,
    written_size,
)
from glm_gguf.llama.offload import Offload, layer_sizes, plan_offload

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Machine:
    """The hardware to compute on, as it is now."""

    gpus: tuple[Device, ...]
    """The GPUs that the options allow."""
    memory: int | None
    """Free bytes of main memory; None where nothing tells."""
    cpu: Cpu

    @classmethod
    def here(cls, options: EngineOptions) -> Self:
        """Look at this machine; raises what `chosen_gpus` raises, and OSError for unreadable libraries of llama.cpp."""
        route_log()
        llama_cpp.llama_backend_init()
        return cls(chosen_gpus(options), available_memory(), Cpu.here())


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """All decisions about loading a model and running its context; model handle, context and scheduler follow it."""

    options: EngineOptions
    """As they were given."""
    size: ContextSize
    batches: BatchSizes
    offload: Offload
    need: MemoryNeed
    compute: int
    """Bytes of llama.cpp's compute buffers on each device, an estimate."""
    repack: bool
    """llama.cpp copies weights into the order that its CPU kernels want."""
    in_tiles: bool
    """Most weights meet a CPU kernel that takes as long for 8 rows of a batch as for 16."""
    n_host_cache: int
    """Tokens of evicted prefixes that main memory keeps."""

    @classmethod
    def of(cls, contents: GgufParts, options: EngineOptions, machine: Machine) -> Self:
        """Decide everything.

        Raises RequestError for a context that the model does not know or memory does not hold, EngineError for a
        repacking that would crash.
        """
        plan = cls.estimate(contents, options, machine)
        offload = plan.offload
        if options.n_gpu_layers == "auto" and machine.gpus and offload.n_on_gpus < offload.n_layers:
            names = ", ".join(gpu.name for gpu in machine.gpus)
            counts = offload.n_on_gpus, offload.n_layers
            LOGGER.warning("%s: room for %d of %d layers; the CPU computes the others", names, *counts)
        require_memory(plan.need, options, machine.memory, offload.cpu_share)
        return plan

    @classmethod
    def estimate(cls, contents: GgufParts, options: EngineOptions, machine: Machine) -> Self:
        """Decide everything, whether main memory holds it or not; raises the other errors of `of`."""
        size = ContextSize.of(contents, options)
        need = memory_need(contents, options, size.n_cells)
        sizes = layer_sizes(contents, need.cache)
        offload = plan_offload(sizes, options.n_gpu_layers, machine.gpus, machine.memory)
        on_gpu = offload.n_on_gpus > 0
        copies_fit = not options.mmap or machine.memory is None or need.loaded <= machine.memory
        repack = repacks(contents.tensors, options.repack, machine.cpu, on_gpu=on_gpu, copies_fit=copies_fit)
        batches = BatchSizes.of(options, size, on_gpu=on_gpu, cpu_features=machine.cpu.features)
        copied = repack or options.mlock or not options.mmap
        free = machine.memory
        if free is not None and copied:
            free -= int(need.weights * offload.cpu_share)
        return cls(
            options=options,
            size=size,
            batches=batches,
            offload=offload,
            need=need,
            compute=compute_buffers(contents, options, size, batches),
            repack=repack,
            in_tiles=computes_in_tiles(contents.tensors, machine.cpu, on_gpu=on_gpu, repacked=repack),
            n_host_cache=host_cache_size(need, options, size.n_cells, free),
        )

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
        beside = min(batches.beside_answers, batches.shared)
        subjects = {
            "weights": f"{written_size(need.weights)}, {weights}",
            "KV cache": f"{written_size(need.cache)} for {size.n_cells:,} tokens, "
            f"keys {options.cache_type_k}, values {options.cache_type_v}",
            "compute buffers": f"{written_size(self.compute)} on each device (an estimate)",
            "layers": str(self.offload),
            "threads": f"{self.threads} for decode, {self.threads_batch} for prefill",
            "n_ctx": f"{size.n_ctx:,} tokens a conversation, {options.n_parallel} answers at once",
            "n_batch": f"{batches.alone} tokens for one request, {batches.shared} for several, "
            f"{beside} prompt tokens beside answers",
            "host cache": f"{self.n_host_cache:,} tokens of evicted prefixes in main memory",
        }
        return tuple(f"{name:15}  {told}" for name, told in subjects.items())

    def __str__(self) -> str:
        return "\n".join(self.lines())
