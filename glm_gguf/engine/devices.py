"""Which devices llama.cpp can compute on here."""

from __future__ import annotations

import ctypes
from typing import Final

from llama_cpp._ggml import libggml

from glm_gguf.engine.options import EngineOptions

# enum ggml_backend_dev_type of ggml-backend.h
GGML_BACKEND_DEVICE_TYPE_GPU: Final = 1
GGML_BACKEND_DEVICE_TYPE_IGPU: Final = 2


def uses_gpu(options: EngineOptions) -> bool:
    """Tell whether layers are computed on a GPU.

    llama_supports_gpu_offload() is no answer: it is true wherever llama.cpp was built to reach other machines (RPC).
    """
    if options.n_gpu_layers == 0:
        return False
    # ggml_backend_dev_t ggml_backend_dev_by_type(enum ggml_backend_dev_type type): NULL where there is none
    by_type = libggml.ggml_backend_dev_by_type
    by_type.argtypes = [ctypes.c_int]
    by_type.restype = ctypes.c_void_p
    return any(by_type(kind) for kind in (GGML_BACKEND_DEVICE_TYPE_GPU, GGML_BACKEND_DEVICE_TYPE_IGPU))
