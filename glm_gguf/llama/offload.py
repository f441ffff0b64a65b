"""How many layers of a model the GPUs have room for."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from glm_gguf.gguf_file.contents import model_integer
from glm_gguf.gguf_file.parts import GgufParts
from glm_gguf.llama.devices import Device, chosen_gpus
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.memory import memory_need

LOGGER = logging.getLogger(__name__)
SPARE: Final = 2**30
"""Bytes to leave free on every GPU, for llama.cpp's buffers and for others, such as a screen."""


@dataclass(frozen=True, slots=True)
class Offload:
    """Layers that GPUs compute, of all; llama.cpp counts the output as one more, and gives it away first."""

    gpus: tuple[Device, ...]
    split: tuple[int, ...]
    """In which proportion the GPUs share the layers; empty is by the memory that they have free."""
    n_on_gpus: int
    n_layers: int

    @property
    def cpu_share(self) -> float:
        """Part of the model that main memory holds."""
        return 1 - self.n_on_gpus / self.n_layers


def plan_offload(contents: GgufParts, options: EngineOptions, available: int | None) -> Offload:
    """Decide which layers GPUs compute: as many as asked for, or as fit; raises what `chosen_gpus` raises.

    `available` bytes of main memory stand for a GPU that tells of no memory of its own, as in llama.cpp.
    """
    gpus = chosen_gpus(options)
    sizes = layer_sizes(contents, options)
    if not gpus:
        return Offload((), (), 0, len(sizes))
    if options.n_gpu_layers != "auto":
        asked = len(sizes) if options.n_gpu_layers == -1 else options.n_gpu_layers
        return Offload(gpus, (), min(asked, len(sizes)), len(sizes))
    free = [(available or 0) if gpu.memory is None else gpu.memory for gpu in gpus]
    rooms = [max(0, amount - SPARE) for amount in free]
    count = layers_that_fit(sizes, rooms)
    if count < len(sizes):
        names = ", ".join(gpu.name for gpu in gpus)
        LOGGER.warning("%s: room for %d of %d layers; the CPU computes the others", names, count, len(sizes))
    return Offload(gpus, tuple(rooms), count, len(sizes)) if count else Offload((), (), 0, len(sizes))


def layer_sizes(contents: GgufParts, options: EngineOptions) -> list[int]:
    """Return the bytes of weights and KV cells of every layer, and last those of the output."""
    count = model_integer(contents.metadata, "block_count") or 0
    cells = memory_need(contents, options).cache
    sizes = [cells // count for _ in range(count)] + [0]
    names = {f"blk.{number}": number for number in range(count)}
    # A file without an output of its own computes it with the embedding.
    embedded = all(tensor.name != "output.weight" for tensor in contents.tensors)
    for tensor in contents.tensors:
        place = names.get(".".join(tensor.name.split(".")[:2]))
        if place is not None:
            sizes[place] += tensor.n_bytes
        elif tensor.name.startswith("output") or embedded:
            sizes[-1] += tensor.n_bytes
    return sizes


def layers_that_fit(sizes: Sequence[int], rooms: Sequence[int]) -> int:
    """Count the last layers that GPUs with room for so many bytes hold, if they share them in this proportion."""
    ends = list(accumulate(rooms))
    for count in range(len(sizes) if ends[-1] else 0, 0, -1):
        used = [0] * len(rooms)
        for place, size in enumerate(sizes[-count:]):
            used[bisect_right(ends, place / count * ends[-1])] += size
        if all(taken <= room for taken, room in zip(used, rooms, strict=True)):
            return count
    return 0
