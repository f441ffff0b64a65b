"""A load plan to llama_context_params."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

import llama_cpp

from glm_gguf.llama.batch_sizes import OUTPUT_CHUNK
from glm_gguf.llama.load_plan import LoadPlan

# enum llama_flash_attn_type and llama_rope_scaling_type of llama.h
FLASH_ATTENTION: Final = MappingProxyType({None: -1, False: 0, True: 1})
ROPE_SCALING_YARN: Final = 2


def context_parameters(plan: LoadPlan) -> llama_cpp.llama_context_params:
    """Fill llama.cpp's struct."""
    options, size, n_batch = plan.options, plan.size, plan.batches.alone
    parameters: llama_cpp.llama_context_params = llama_cpp.llama_context_default_params()
    parameters.n_ctx = max(size.n_cells, n_batch)
    parameters.n_batch = parameters.n_ubatch = n_batch
    parameters.n_seq_max = size.n_running
    parameters.n_outputs_max = max(size.n_running, OUTPUT_CHUNK)
    parameters.kv_unified = True
    parameters.n_threads = plan.threads
    parameters.n_threads_batch = plan.threads_batch
    parameters.flash_attn_type = FLASH_ATTENTION[options.flash_attention]
    parameters.type_k = options.cache_type_k.ggml_type.id
    parameters.type_v = options.cache_type_v.ggml_type.id
    if options.yarn is not None:
        parameters.rope_scaling_type = ROPE_SCALING_YARN
        parameters.rope_freq_scale = 1 / options.yarn
        parameters.yarn_orig_ctx = size.n_trained
    return parameters
