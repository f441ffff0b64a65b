"""Which devices llama.cpp can compute on here, beside the CPU."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from llama_cpp._ggml import libggml

from glm_gguf.engine.options import EngineOptions
from glm_gguf.errors import EngineError, RequestError

# enum ggml_backend_dev_type of ggml-backend.h
GGML_BACKEND_DEVICE_TYPE_GPU: Final = 1
GGML_BACKEND_DEVICE_TYPE_IGPU: Final = 2


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU as ggml knows it; `pointer` is its ggml_backend_dev_t, `memory` its free bytes, None if unknown."""

    name: str
    description: str
    pointer: int
    memory: int | None


class _Properties(ctypes.Structure):
    """struct ggml_backend_dev_props of ggml-backend.h."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("description", ctypes.c_char_p),
        ("memory_free", ctypes.c_size_t),
        ("memory_total", ctypes.c_size_t),
        ("type", ctypes.c_int),
        ("device_id", ctypes.c_char_p),
        ("caps", ctypes.c_bool * 5),
    )


def gpus() -> tuple[Device, ...]:
    """List the GPUs, also those inside a processor; EngineError in a process whose parent had listed them.

    llama_supports_gpu_offload() is no answer: it is true wherever llama.cpp was built to reach other machines (RPC).
    """
    return tuple(_device(pointer, found) for pointer, found in _found())


def chosen_gpus(options: EngineOptions) -> tuple[Device, ...]:
    """List the GPUs that layers are computed on, in the order asked for; RequestError for one that is not there."""
    _first_process()  # llama.cpp initialises the GPUs in any case
    if options.n_gpu_layers == 0:
        return ()
    return _named(options.devices) if options.devices else _each_once()


def _named(names: Sequence[str]) -> tuple[Device, ...]:
    known = {device.name: device for device in gpus()}
    for name in names:
        if name not in known:
            there = ", ".join(known) or "none"
            raise RequestError(f"there is no GPU {name!r}", where="devices", fix=f"llama.cpp finds: {there}")
    return tuple(known[name] for name in names)


def _each_once() -> tuple[Device, ...]:
    """List the GPUs, each by the first backend that knows it; those inside a processor where there is no other."""
    for kind in (GGML_BACKEND_DEVICE_TYPE_GPU, GGML_BACKEND_DEVICE_TYPE_IGPU):
        found: dict[bytes, Device] = {}
        for pointer, properties in _found():
            if properties.type == kind:
                found.setdefault(properties.device_id or properties.name, _device(pointer, properties))
        if found:
            return tuple(found.values())
    return ()


@cache
def _first_process() -> int:
    """Return the process that asked first."""
    return os.getpid()


def _found() -> list[tuple[int, _Properties]]:
    first = _first_process()
    # size_t ggml_backend_dev_count(void)
    count = _function("ggml_backend_dev_count", ctypes.c_size_t)()
    # ggml_backend_dev_t ggml_backend_dev_get(size_t index)
    get = _function("ggml_backend_dev_get", ctypes.c_void_p, ctypes.c_size_t)
    # enum ggml_backend_dev_type ggml_backend_dev_type(ggml_backend_dev_t device)
    kind = _function("ggml_backend_dev_type", ctypes.c_int, ctypes.c_void_p)
    # void ggml_backend_dev_get_props(ggml_backend_dev_t device, struct ggml_backend_dev_props * props)
    ask = _function("ggml_backend_dev_get_props", None, ctypes.c_void_p, ctypes.POINTER(_Properties))
    wanted = (GGML_BACKEND_DEVICE_TYPE_GPU, GGML_BACKEND_DEVICE_TYPE_IGPU)
    found = [(pointer, _Properties()) for pointer in map(get, range(count)) if pointer and kind(pointer) in wanted]
    if found and first != os.getpid():  # CUDA's calls fail from then on, and ggml aborts
        fix = "open it in a process that is started anew, as multiprocessing's spawn does, or with n_gpu_layers=0"
        raise EngineError("no GPU computes in a process that was forked from one which had used it", fix=fix)
    for pointer, properties in found:
        ask(pointer, ctypes.byref(properties))
    return found


def _device(pointer: int, found: _Properties) -> Device:
    name, description = (text.decode("utf-8", "replace") for text in (found.name, found.description))
    return Device(name, description, pointer, found.memory_free if found.memory_total else None)


def _function(name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(libggml, name)
    function.restype, function.argtypes = result, list(arguments)
    return function
