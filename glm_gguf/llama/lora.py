"""LoRA adapters: loaded with a model, applied by a context at some scales."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glm_gguf.errors import EngineError
from glm_gguf.gguf_file.adapter import require_adapter
from glm_gguf.llama.engine_options import LoraAdapter, Scales
from glm_gguf.llama.library import llama_cpp
from glm_gguf.llama.llama_log import collected_errors


class Adapters:
    """The adapters of a context and their present scales; the model frees them."""

    def __init__(
        self,
        model: llama_cpp.llama_model_p,
        context: llama_cpp.llama_context_p,
        adapters: Sequence[LoraAdapter],
        path: Path,
    ) -> None:
        self._path = path
        self._context = context
        self._pointers: list[Any] = [_load(model, adapter) for adapter in adapters]
        self._scales: Scales = (0.0,) * len(adapters)

    def use(self, scales: Scales) -> None:
        """Apply the adapters at these scales from now on; EngineError where llama.cpp refuses."""
        if scales == self._scales:
            return
        used = [(pointer, scale) for pointer, scale in zip(self._pointers, scales, strict=True) if scale]
        # int32_t llama_set_adapters_lora(ctx, struct llama_adapter_lora ** adapters, size_t n_adapters, float * scales)
        pointers = (llama_cpp.llama_adapter_lora_p_ctypes * len(used))(*[pointer for pointer, _ in used])
        factors = (ctypes.c_float * len(used))(*[scale for _, scale in used])
        if llama_cpp.llama_set_adapters_lora(self._context, pointers, len(used), factors) != 0:
            raise EngineError("llama.cpp did not apply the LoRA adapters", path=self._path)
        self._scales = scales


def _load(model: llama_cpp.llama_model_p, adapter: LoraAdapter) -> Any:
    """Check and load one adapter; the model frees it."""
    require_adapter(adapter.path)
    with collected_errors() as errors:
        pointer = llama_cpp.llama_adapter_lora_init(model, os.fsencode(adapter.path))
    if not pointer:
        reason = f": {errors[0]}" if errors else ""
        raise EngineError(f"llama.cpp could not load the adapter{reason}", path=adapter.path)
    return pointer
