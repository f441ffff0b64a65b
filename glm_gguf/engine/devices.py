"""Which devices llama.cpp can compute on here, beside the CPU."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Final

from llama_cpp._ggml import libggml

from glm_gguf.engine.options import EngineOptions
from glm_gguf.errors import RequestError

# enum ggml_backend_dev_type of ggml-backend.h
GGML_BACKEND_DEVICE_TYPE_GPU: Final = 1
GGML_BACKEND_DEVICE_TYPE_IGPU: Final = 2


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU as ggml knows it; `pointer` is its ggml_backend_dev_t."""

    name: str
    description: str
    pointer: int


def gpus() -> tuple[Device, ...]:
    """List the GPUs, also those inside a processor.

    llama_supports_gpu_offload() is no answer: it is true wherever llama.cpp was built to reach other machines (RPC).
    """
    # size_t ggml_backend_dev_count(void)
    count = _function("ggml_backend_dev_count", ctypes.c_size_t)()
    # ggml_backend_dev_t ggml_backend_dev_get(size_t index)
    get = _function("ggml_backend_dev_get", ctypes.c_void_p, ctypes.c_size_t)
    # enum ggml_backend_dev_type ggml_backend_dev_type(ggml_backend_dev_t device)
    kind = _function("ggml_backend_dev_type", ctypes.c_int, ctypes.c_void_p)
    found = [pointer for pointer in map(get, range(count)) if pointer]
    wanted = (GGML_BACKEND_DEVICE_TYPE_GPU, GGML_BACKEND_DEVICE_TYPE_IGPU)
    return tuple(_device(pointer) for pointer in found if kind(pointer) in wanted)


def chosen_gpus(options: EngineOptions) -> tuple[Device, ...]:
    """List the GPUs that layers are computed on, in the order asked for; RequestError for one that is not there."""
    if options.n_gpu_layers == 0:
        return ()
    known = {device.name: device for device in gpus()}
    for name in options.devices:
        if name not in known:
            there = ", ".join(known) or "none"
            raise RequestError(f"there is no GPU {name!r}", where="devices", fix=f"llama.cpp finds: {there}")
    return tuple(known[name] for name in options.devices or known)


def _device(pointer: int) -> Device:
    # const char * ggml_backend_dev_name(ggml_backend_dev_t device), and ..._description
    name, description = (
        _function(f"ggml_backend_dev_{what}", ctypes.c_char_p, ctypes.c_void_p)(pointer)
        for what in ("name", "description")
    )
    return Device(name.decode("utf-8", "replace"), description.decode("utf-8", "replace"), pointer)


def _function(name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(libggml, name)
    function.restype, function.argtypes = result, list(arguments)
    return function
