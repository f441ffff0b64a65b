"""What a model takes of memory with its context: weights, KV cache, compute buffers, and the process around them."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import Final

from glm_gguf.gguf_file.contents import head_dim, kv_heads, model_integer
from glm_gguf.gguf_file.parts import GgufParts
from glm_gguf.llama.automatic_options import STEP
from glm_gguf.llama.batch_sizes import OUTPUT_CHUNK, BatchSizes
from glm_gguf.llama.context_size import ContextSize
from glm_gguf.llama.engine_options import FLOAT_CACHE, CacheType, EngineOptions

PROCESS: Final = 24 * 2**20
PROCESS_PER_TOKEN: Final = 1228
"""Bytes that a process gains beside llama.cpp's buffers, and a token of the vocabulary: llama.cpp's and llguidance's
tables of it. A process with GLM's 151,552 tokens gained 193 MiB."""
PIPELINE_COPIES: Final = 4  # GGML_SCHED_MAX_COPIES of ggml-backend.cpp
PAGE_ENTRY: Final = 8
"""Bytes of the kernel's tables for a page of mapped weights."""


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Bytes: of the weights, of a cell of the KV cache, of all cells, of the compute buffers on each device (an
    estimate), and of all else that the process gains."""

    weights: int
    cell: int
    cache: int
    compute: int
    process: int

    @property
    def beside_weights(self) -> int:
        """All but the weights, which may stay in the file."""
        return self.cache + self.compute + self.process

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.beside_weights


def memory_need(
    contents: GgufParts,
    options: EngineOptions,
    size: ContextSize,
    batches: BatchSizes,
    page: int = mmap.PAGESIZE,
    *,
    pipelined: bool = False,
) -> MemoryNeed:
    """Count the bytes of a model with these options, on a system whose pages have `page` bytes.

    It is `pipelined` where several devices compute all layers: llama.cpp keeps a batch's inputs in several copies then.
    """
    cell = cell_size(contents, options)
    cache = cell * (-(-max(size.n_cells, batches.alone) // STEP) * STEP)
    process = PROCESS + PROCESS_PER_TOKEN * _vocabulary(contents) + PAGE_ENTRY * contents.file_size // page
    compute = compute_buffers(contents, options, size, batches)
    if pipelined:
        compute += (PIPELINE_COPIES - 1) * input_size(contents, options, size, batches)
    return MemoryNeed(contents.file_size, cell, cache, compute, process)


def input_size(contents: GgufParts, options: EngineOptions, size: ContextSize, batches: BatchSizes) -> int:
    """Estimate the bytes that a device gets for one batch: the mask, and the hidden states of the layer before."""
    rows = -(-batches.alone // size.n_running) * size.n_running
    width = model_integer(contents.metadata, "embedding_length") or 0
    return rows * ((4 if options.flash_attention is False else 2) * size.n_cells + 4 * width)


def memory_to_run(contents: GgufParts, n_ctx: int) -> int:
    """Count the bytes that a model takes of main memory with `n_ctx` tokens, all else by default, without a GPU.

    The batches are the larger ones, of a CPU with AVX-512.
    """
    options = EngineOptions(n_ctx=n_ctx)
    size = ContextSize.of(contents, options)
    batches = BatchSizes.of(options, size, on_gpu=False, cpu_features={"AVX512"})
    return memory_need(contents, options, size, batches).total


def cell_size(contents: GgufParts, options: EngineOptions) -> int:
    """Count the bytes of a cell of the KV cache: keys and values of one token in all layers."""
    layers = model_integer(contents.metadata, "block_count") or 0
    kinds = [type_.ggml_type for type_ in options.cache_types]
    widths = cache_widths(contents)
    return layers * sum(width * kind.block_bytes // kind.block_size for width, kind in zip(widths, kinds, strict=True))


def cache_widths(contents: GgufParts) -> tuple[int, int]:
    """Count the numbers that are the keys of one token in one layer, and those that are the values."""
    heads = kv_heads(contents.metadata) or 0
    return heads * (head_dim(contents.metadata) or 0), heads * (head_dim(contents.metadata, "value") or 0)


def compute_buffers(contents: GgufParts, options: EngineOptions, size: ContextSize, batches: BatchSizes) -> int:
    """Estimate the bytes of llama.cpp's buffers for one batch and its logits, on each device that computes.

    Attention, feed-forward network and logits use the same memory in turn, and the mask is there all the time. Flash
    attention needs a mask of 2 bytes, [rows, n_ctx]; without it every head keeps its scores as f32 beside a mask of 4.
    llama.cpp reserves rows for as many tokens of every sequence: n_batch is rounded up to a multiple of their number.
    """
    names = ("feed_forward_length", "embedding_length", "attention.head_count")
    feed_forward, width, heads = (model_integer(contents.metadata, name) or 0 for name in names)
    keys, values = options.cache_types
    rows = -(-batches.alone // size.n_running) * size.n_running
    queries, widths = heads * (head_dim(contents.metadata) or 0), cache_widths(contents)
    logits, outputs = 4 * _vocabulary(contents), max(size.n_running, OUTPUT_CHUNK)
    if options.flash_attention is False:
        mask = 4 * rows * size.n_cells
        kept = (4 if keys in FLOAT_CACHE else 3) * width + queries + sum(widths)
        attention = rows * (heads * 4 * size.n_cells + 4 * kept)
        network = 4 * rows * (3 * feed_forward + 2 * width + queries + sum(widths))
    else:
        mask = 2 * rows * size.n_cells
        casts = [taken for type_, taken in zip((keys, values), widths, strict=True) if type_ is CacheType.F32]
        attention = 4 * rows * (4 * width + queries) + 2 * size.n_cells * sum(casts)  # f32 is cast to f16
        network = 4 * rows * (3 * feed_forward + (3 if values in FLOAT_CACHE else 2) * width + queries)
    return mask + max(attention, network, logits * outputs + 4 * rows * width) + logits * size.n_running


def _vocabulary(contents: GgufParts) -> int:
    return max((tensor.shape[1] for tensor in contents.tensors if tensor.name == "token_embd.weight"), default=0)


def host_cache_size(
    need: MemoryNeed, options: EngineOptions, n_cells: int, available: int | None, *, by_rows: bool = False
) -> int:
    """Return how many tokens of evicted prefixes main memory keeps, where a model leaves `available` bytes free.

    None where llama.cpp copies them `by_rows`: the engine answers nobody meanwhile.
    """
    if options.n_host_cache is not None:
        return options.n_host_cache
    if by_rows:
        return 0
    if available is None or not need.cell:
        return n_cells
    return min(n_cells, max(0, available) // 4 // need.cell)


def written_size(n_bytes: int) -> str:
    """Write bytes in decimal units."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"
