"""How many layers of a model the GPUs compute: as many as they have room for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Literal

from glm_gguf.gguf_file.contents import model_integer
from glm_gguf.gguf_file.parts import GgufParts
from glm_gguf.llama.devices import Device

SPARE: Final = 2**30
"""Bytes to leave free on every GPU, for llama.cpp's buffers and for others, such as a screen; llama.cpp's own margin
(fit_params_target of common.h)."""


@dataclass(frozen=True, slots=True)
class Offload:
    """Layers that GPUs compute, of all; llama.cpp counts the output as one more, and offloads it first."""

    gpus: tuple[Device, ...]
    split: tuple[int, ...]
    """The proportion in which the GPUs share the layers; empty is by their free memory."""
    n_on_gpus: int
    n_layers: int

    @property
    def cpu_share(self) -> float:
        """Fraction of the layers that the CPU computes, from main memory."""
        return 1 - self.n_on_gpus / self.n_layers

    @property
    def main_share(self) -> float:
        """Fraction of the layers that lie in main memory: the CPU's, and those of GPUs without memory of their own."""
        rooms = self.split or tuple(gpu.memory or 1 for gpu in self.gpus)
        unified = sum(room for gpu, room in zip(self.gpus, rooms, strict=True) if gpu.unified)
        return self.cpu_share + (1 - self.cpu_share) * unified / max(1, sum(rooms))

    @property
    def gpu_names(self) -> tuple[str, ...]:
        """The GPUs, by llama.cpp's names and their makers'."""
        return tuple(f"{gpu.name} ({gpu.description})" for gpu in self.gpus)

    @property
    def caches_on_workers(self) -> bool:
        """Whether workers may hold keys and values: they hold layers, and not the output alone."""
        return self.n_on_gpus > 1 and any(gpu.lent for gpu in self.gpus)

    def __str__(self) -> str:
        where = f": {', '.join(self.gpu_names)}" if self.gpus else ""
        return f"{self.n_on_gpus} of {self.n_layers} on a {self.device_word}{where}"

    @property
    def device_word(self) -> str:
        """What computes the offloaded layers: GPUs, workers, or both."""
        kinds = dict.fromkeys("worker" if gpu.lent else "GPU" for gpu in self.gpus)
        return " or ".join(sorted(kinds)) or "GPU"


def plan_offload(
    sizes: Sequence[int],
    asked: int | Literal["auto"],
    gpus: tuple[Device, ...],
    available: int | None,
    compute: int = 0,
) -> Offload:
    """Decide which layers, of so many bytes each, the GPUs compute: as many as asked for (-1 is all), or as fit.

    A GPU that tells no memory counts as having the `available` bytes of main memory, as in llama.cpp. A worker has kept
    back what it wants for itself, and needs `compute` bytes for llama.cpp's buffers.
    """
    if not gpus:
        return Offload((), (), 0, len(sizes))
    free = [(available or 0) if gpu.memory is None else gpu.memory for gpu in gpus]
    rooms = [max(0, amount - (compute if gpu.lent else SPARE)) for gpu, amount in zip(gpus, free, strict=True)]
    if asked != "auto":
        # llama.cpp takes the whole memory of a worker's CPU for free
        split = tuple(rooms) if any(gpu.lent for gpu in gpus) else ()
        return Offload(gpus, split, len(sizes) if asked == -1 else min(asked, len(sizes)), len(sizes))
    count = layers_that_fit(sizes, rooms)
    return Offload(gpus, tuple(rooms), count, len(sizes)) if count else Offload((), (), 0, len(sizes))


def layer_sizes(contents: GgufParts, cache: int) -> list[int]:
    """Return the bytes of every layer, weights and its share of the KV `cache`, and last those of the output."""
    count = model_integer(contents.metadata, "block_count") or 0
    sizes = [cache // count for _ in range(count)] + [0]
    layers = {f"blk.{number}": number for number in range(count)}
    # A file without an output of its own computes it with the embedding.
    embedded = all(tensor.name != "output.weight" for tensor in contents.tensors)
    for tensor in contents.tensors:
        layer = layers.get(".".join(tensor.name.split(".")[:2]))
        if layer is not None:
            sizes[layer] += tensor.n_bytes
        elif tensor.name.startswith("output") or embedded:
            sizes[-1] += tensor.n_bytes
    return sizes


def layers_that_fit(sizes: Sequence[int], rooms: Sequence[int]) -> int:
    """Count the last layers that fit on GPUs with room for so many bytes, if they share them in that proportion."""
    ends = list(accumulate(rooms))
    for count in range(len(sizes) if ends[-1] else 0, 0, -1):
        used = [0] * len(rooms)
        for index, size in enumerate(sizes[-count:]):
            used[bisect_right(ends, index / count * ends[-1])] += size
        if all(taken <= room for taken, room in zip(used, rooms, strict=True)):
            return count
    return 0
