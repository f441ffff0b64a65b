"""What a context takes of memory, and what there is."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from glm_gguf.errors import RequestError
from glm_gguf.gguf_file.contents import head_dim, kv_heads, model_integer
from glm_gguf.gguf_file.parts import GgufParts
from glm_gguf.llama.context_parameters import GGML_TYPES, ContextSize
from glm_gguf.llama.engine_options import EngineOptions

LOGGER = logging.getLogger(__name__)
CELL_STEP: Final = 256  # llama.cpp rounds a context up to it
# ggml type → bytes and values of a block: f32, f16, q4_0, q4_1, q5_0, q5_1, q8_0, bf16 (ggml-common.h)
BLOCKS: Final = {0: (4, 1), 1: (2, 1), 2: (18, 32), 3: (20, 32), 6: (22, 32), 7: (24, 32), 8: (34, 32), 30: (2, 1)}
SCRATCH_SHARE: Final = 0.05
"""Of the weights: what is allowed for llama.cpp's buffers, and for all else this process holds."""


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Bytes: of the weights, of one cell of the KV cache, and of all its cells."""

    weights: int
    cell: int
    cache: int

    @property
    def loaded(self) -> int:
        """Bytes of the weights with what is allowed beside them."""
        return int(self.weights * (1 + SCRATCH_SHARE))


def memory_need(contents: GgufParts, options: EngineOptions) -> MemoryNeed:
    """Estimate what a model with these options takes."""
    cells = ContextSize.of(contents, options).n_cells
    layers = model_integer(contents.metadata, "block_count") or 0
    heads = kv_heads(contents.metadata) or 0
    widths = heads * (head_dim(contents.metadata) or 0), heads * (head_dim(contents.metadata, "value") or 0)
    types = GGML_TYPES[options.cache_type_k], GGML_TYPES[options.cache_type_v]
    cell = layers * sum(
        width * BLOCKS[type_][0] // BLOCKS[type_][1] for width, type_ in zip(widths, types, strict=True)
    )
    return MemoryNeed(contents.file_size, cell, cell * (-(-cells // CELL_STEP) * CELL_STEP))


def require_memory(contents: GgufParts, options: EngineOptions, available: int | None, share: float = 1.0) -> None:
    """Raise RequestError for a KV cache that does not fit beside the weights; the error says what does.

    The `share` is that of the layers which no GPU computes. Weights that are mapped and larger than memory are
    llama.cpp's business: they are read again and again. Copies of them, locked or repacked, have to fit.
    """
    need = memory_need(contents, options)
    if available is None or not need.cell or not share:
        return
    weights, cell, cache = (int(size * share) for size in (need.loaded, need.cell, need.cache))
    if weights > available and options.mmap and not options.mlock and not options.repack:
        LOGGER.warning(
            "%s of weights, %s of memory: reading them again and again is slow", *map(_gb, (weights, available))
        )
        weights = 0
    if weights + cache <= available:
        return
    fits = max(0, (available - weights) // cell // CELL_STEP * CELL_STEP)
    what = f"the KV cache takes {_gb(cache)} and the weights {_gb(weights)}, but {_gb(available)} are free"
    fix = f"up to {fits} tokens fit; a cache type of fewer bits fits more" if fits else "take a smaller quantisation"
    raise RequestError(what, field="n_ctx", fix=fix)


def host_cache_size(contents: GgufParts, options: EngineOptions, available: int | None) -> int:
    """Return how many tokens main memory may keep beside the KV cache."""
    if options.n_host_cache is not None:
        return options.n_host_cache
    need = memory_need(contents, options)
    cells = ContextSize.of(contents, options).n_cells
    if available is None or not need.cell:
        return cells
    return min(cells, max(0, available - need.cache) // 4 // need.cell)


def available_memory() -> int | None:
    """Return the bytes that can be had without swapping, as far as the container allows; None where none says."""
    amounts = [amount for amount in (_machine_available(), _container_available()) if amount is not None]
    return min(amounts, default=None)


def _machine_available() -> int | None:
    """Read MemAvailable, or count the free pages elsewhere."""
    info = _read(Path("/proc/meminfo"))
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
    limit, used = (_read(Path("/sys/fs/cgroup") / name).strip() for name in ("memory.max", "memory.current"))
    if not limit.isdigit() or not used.isdigit():
        return None
    statistics = dict(line.split() for line in _read(Path("/sys/fs/cgroup/memory.stat")).splitlines())
    return int(limit) - int(used) + int(statistics.get("file", 0))


def _read(path: Path) -> str:
    """Read a file of the kernel's; empty where there is none."""
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""


def _gb(amount: int) -> str:
    return f"{amount / 1e9:.1f} GB"
