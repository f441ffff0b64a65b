"""LoRA adapters: loaded with a model, applied to a context."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from typing import Any

import llama_cpp

from glm_gguf.engine.llama_log import collected_errors
from glm_gguf.engine.model_handle import ModelHandle
from glm_gguf.engine.options import LoraAdapter
from glm_gguf.errors import EngineError, RequestError


def apply_adapters(model: ModelHandle, context: llama_cpp.llama_context_p, adapters: Sequence[LoraAdapter]) -> None:
    """Load adapters, which the model frees, and have a context compute with them."""
    if not adapters:
        return
    pointers = [_load(model, adapter) for adapter in adapters]
    # int32_t llama_set_adapters_lora(ctx, struct llama_adapter_lora ** adapters, size_t n_adapters, float * scales)
    array = (llama_cpp.llama_adapter_lora_p_ctypes * len(pointers))(*pointers)
    scales = (ctypes.c_float * len(pointers))(*(adapter.scale for adapter in adapters))
    if llama_cpp.llama_set_adapters_lora(context, array, len(pointers), scales) != 0:
        raise EngineError("llama.cpp did not apply the LoRA adapters", where=model.path)


def _load(model: ModelHandle, adapter: LoraAdapter) -> Any:
    """Read one adapter; it is freed with the model."""
    if not adapter.path.is_file():
        raise RequestError("no such file", where=adapter.path, fix="give the path of a LoRA adapter as GGUF")
    with collected_errors() as errors:
        pointer = llama_cpp.llama_adapter_lora_init(model.pointer, os.fsencode(adapter.path))
    if not pointer:
        reason = f": {errors[0]}" if errors else ""
        raise EngineError(f"llama.cpp could not load the adapter{reason}", where=adapter.path)
    return pointer
