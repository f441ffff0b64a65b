"""What a model takes of memory with its context, and how much memory is free."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from glm_gguf.errors import RequestError
from glm_gguf.gguf_file.contents import head_dim, kv_heads, model_integer
from glm_gguf.gguf_file.parts import GgufParts
from glm_gguf.llama.batch_sizes import OUTPUT_CHUNK, BatchSizes
from glm_gguf.llama.context_size import ContextSize
from glm_gguf.llama.engine_options import EngineOptions

LOGGER = logging.getLogger(__name__)
CELL_STEP: Final = 256  # llama.cpp rounds a context up to it
SCRATCH_SHARE: Final = 0.05
"""Of the weights: the allowance for llama.cpp's buffers, and for all else this process holds."""


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Bytes: of the weights, of one cell of the KV cache, and of all its cells."""

    weights: int
    cell: int
    cache: int

    @property
    def loaded(self) -> int:
        """Bytes of the weights with the allowance for buffers."""
        return int(self.weights * (1 + SCRATCH_SHARE))


def memory_need(contents: GgufParts, options: EngineOptions, n_cells: int) -> MemoryNeed:
    """Count the bytes of a model with these options and a KV cache of `n_cells` tokens."""
    layers = model_integer(contents.metadata, "block_count") or 0
    heads = kv_heads(contents.metadata) or 0
    widths = heads * (head_dim(contents.metadata) or 0), heads * (head_dim(contents.metadata, "value") or 0)
    types = options.cache_type_k.ggml_type, options.cache_type_v.ggml_type
    cell = layers * sum(width * kind.block_bytes // kind.block_size for width, kind in zip(widths, types, strict=True))
    return MemoryNeed(contents.file_size, cell, cell * (-(-n_cells // CELL_STEP) * CELL_STEP))


def compute_buffers(contents: GgufParts, options: EngineOptions, size: ContextSize, batches: BatchSizes) -> int:
    """Estimate the bytes of llama.cpp's buffers for one batch and its logits, on each device that computes.

    The feed-forward network and the attention use the same memory in turn. Flash attention needs a mask of 2 bytes,
    [n_batch, n_ctx]; without it every head keeps its scores as f32 beside a mask of 4.
    """
    names = ("feed_forward_length", "embedding_length", "attention.head_count")
    feed_forward, width, heads = (model_integer(contents.metadata, name) or 0 for name in names)
    states = 3 * width + heads * (head_dim(contents.metadata) or 0)
    rows, outputs = batches.alone, max(size.n_running, OUTPUT_CHUNK)
    flash = options.flash_attention is not False
    attention = rows * size.n_cells * (2 if flash else 4 * (heads + 1)) + 4 * rows * states
    network = rows * size.n_cells * (2 if flash else 4) + 4 * rows * (3 * feed_forward + states)
    n_vocab = max((tensor.shape[1] for tensor in contents.tensors if tensor.name == "token_embd.weight"), default=0)
    logits = 4 * n_vocab
    return max(attention, network, logits * outputs) + logits * size.n_running


def require_memory(need: MemoryNeed, options: EngineOptions, available: int | None, share: float = 1.0) -> None:
    """Raise RequestError for a KV cache that does not fit beside the weights; the error says what does.

    The `share` is that of the layers which the CPU computes. Mapped weights may exceed the memory: llama.cpp reads
    them again and again. Copies of them, locked or repacked, have to fit.
    """
    if available is None or not need.cell or not share:
        return
    weights, cell, cache = (int(size * share) for size in (need.loaded, need.cell, need.cache))
    if weights > available and options.mmap and not options.mlock and not options.repack:
        LOGGER.warning(
            "%s of weights, %s of memory: reading them again and again is slow",
            *map(written_size, (weights, available)),
        )
        weights = 0
    if weights + cache <= available:
        return
    fits = max(0, (available - weights) // cell // CELL_STEP * CELL_STEP)
    what = f"the KV cache takes {written_size(cache)} and the weights {written_size(weights)}, "
    what += f"but {written_size(available)} are free"
    fix = f"up to {fits} tokens fit; a cache type of fewer bits fits more" if fits else "take a smaller quantisation"
    raise RequestError(what, field="n_ctx", fix=fix)


def host_cache_size(need: MemoryNeed, options: EngineOptions, n_cells: int, available: int | None) -> int:
    """Return how many tokens main memory keeps beside the KV cache of `n_cells`."""
    if options.n_host_cache is not None:
        return options.n_host_cache
    if available is None or not need.cell:
        return n_cells
    return min(n_cells, max(0, available - need.cache) // 4 // need.cell)


def available_memory() -> int | None:
    """Return the free bytes of main memory, without swapping and within the container; None where nothing tells."""
    amounts = [amount for amount in (_machine_available(), _container_available()) if amount is not None]
    return min(amounts, default=None)


def total_memory() -> int | None:
    """Return the bytes of main memory, or the container's limit where that is less; None where nothing tells."""
    limit = _read_text(Path("/sys/fs/cgroup/memory.max")).strip()
    amounts = [int(limit)] if limit.isdigit() else []
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        amounts.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(amounts, default=None)


def written_size(n_bytes: int) -> str:
    """Write bytes in decimal units."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"


def _machine_available() -> int | None:
    """Read MemAvailable, or count the free pages elsewhere."""
    info = _read_text(Path("/proc/meminfo"))
    for line in info.splitlines():
        name, _, amount = line.partition(":")
        if name == "MemAvailable":
            return int(amount.split()[0]) * 1024
    if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in getattr(os, "sysconf_names", {}):
        free: int = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return free
    return None


def _container_available() -> int | None:
    """Read what the control group (version 2) leaves; the page cache counts as free."""
    limit, used = (_read_text(Path("/sys/fs/cgroup") / name).strip() for name in ("memory.max", "memory.current"))
    if not limit.isdigit() or not used.isdigit():
        return None
    statistics = dict(line.split() for line in _read_text(Path("/sys/fs/cgroup/memory.stat")).splitlines())
    return int(limit) - int(used) + int(statistics.get("file", 0))


def _read_text(path: Path) -> str:
    """Read a file of the kernel's; empty where there is none."""
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""
