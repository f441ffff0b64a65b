"""Options and a file's keys to llama_context_params, and the sizes that follow from both."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import llama_cpp

from glm_gguf.errors import RequestError
from glm_gguf.gguf_file.contents import Contents, model_integer
from glm_gguf.llama.cpu_features import cpu_features
from glm_gguf.llama.devices import chosen_gpus
from glm_gguf.llama.engine_options import DEFAULT_CONTEXT, CacheType, EngineOptions

MOST_SEQUENCES: Final = 256  # LLAMA_MAX_SEQ of llama-cparams.h
LARGE_BATCH: Final = 512
"""Tokens: on a GPU; and with AVX-512 for a prompt that is alone, which is read up to a twelfth faster than by 128."""
SHARED_BATCH: Final = 128
"""On a CPU: who comes while a batch is computed waits for it."""
OUTPUT_CHUNK = 32
"""Tokens that are embedded or scored at once: llama.cpp keeps a row of logits for each, 0.6 MB at GLM's vocabulary."""

# enum ggml_type of ggml.h
GGML_TYPES: Final = MappingProxyType(
    {
        CacheType.F32: 0,
        CacheType.F16: 1,
        CacheType.Q4_0: 2,
        CacheType.Q4_1: 3,
        CacheType.Q5_0: 6,
        CacheType.Q5_1: 7,
        CacheType.Q8_0: 8,
        CacheType.BF16: 30,
    }
)
# enum llama_flash_attn_type and llama_rope_scaling_type of llama.h
FLASH_ATTENTION: Final = MappingProxyType({None: -1, False: 0, True: 1})
ROPE_SCALING_YARN: Final = 2


@dataclass(frozen=True, slots=True)
class ContextSize:
    """Tokens: cells of all sequences together, the longest conversation, batches; and sequences computed at once."""

    n_cells: int
    n_ctx: int
    n_batch: int
    """Of one request that is alone."""
    n_shared: int
    """Of several requests."""
    n_running: int
    n_known: int
    """The longest conversation that the model knows; no n_ctx gives more."""

    @classmethod
    def of(cls, contents: Contents, options: EngineOptions) -> ContextSize:
        """Decide the sizes; RequestError where more is asked than the model knows."""
        known = model_integer(contents.metadata, "context_length") or DEFAULT_CONTEXT
        if options.yarn is not None:
            known = int(trained_length(contents) * options.yarn)
        n_cells = min(known, DEFAULT_CONTEXT) if options.n_ctx is None else options.n_ctx
        if n_cells > known * options.n_parallel:
            most = f"{known} tokens a conversation, {options.n_parallel} of them"
            fix = f"give up to {known * options.n_parallel} ({most}), or stretch it with yarn"
            raise RequestError(f"{n_cells} tokens are more than the model knows", field="n_ctx", fix=fix)
        # One for a text that is embedded or scored, one for saving a session, one on the way to main memory or back.
        n_running = options.n_parallel + 3
        alone, shared = (max(min(n_batch, n_cells), n_running) for n_batch in _batches(options))
        return cls(n_cells, min(n_cells, known), alone, shared, n_running, known)


def _batches(options: EngineOptions) -> tuple[int, int]:
    """Return the tokens of a batch for one request, and of one for several."""
    if options.n_batch is not None:
        return options.n_batch, options.n_batch
    if chosen_gpus(options):
        return LARGE_BATCH, LARGE_BATCH
    return LARGE_BATCH if "AVX512" in cpu_features() else SHARED_BATCH, SHARED_BATCH


def trained_length(contents: Contents) -> int:
    """Return the length that the model was trained on, without any stretching."""
    metadata = contents.metadata
    original = model_integer(metadata, "rope.scaling.original_context_length")
    return original or model_integer(metadata, "context_length") or DEFAULT_CONTEXT


def context_parameters(contents: Contents, options: EngineOptions, size: ContextSize) -> llama_cpp.llama_context_params:
    """Fill llama.cpp's struct."""
    parameters: llama_cpp.llama_context_params = llama_cpp.llama_context_default_params()
    parameters.n_ctx = max(size.n_cells, size.n_batch)
    parameters.n_batch = parameters.n_ubatch = size.n_batch
    parameters.n_seq_max = size.n_running
    parameters.n_outputs_max = max(size.n_running, OUTPUT_CHUNK)
    parameters.kv_unified = True
    parameters.n_threads = options.threads
    parameters.n_threads_batch = options.threads_batch or options.threads
    parameters.flash_attn_type = FLASH_ATTENTION[options.flash_attention]
    parameters.type_k = GGML_TYPES[options.cache_type_k]
    parameters.type_v = GGML_TYPES[options.cache_type_v]
    if options.yarn is not None:
        parameters.rope_scaling_type = ROPE_SCALING_YARN
        parameters.rope_freq_scale = 1 / options.yarn
        parameters.yarn_orig_ctx = trained_length(contents)
    return parameters
