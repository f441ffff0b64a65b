"""The devices that llama.cpp can compute on: the GPUs of this machine, its CPU for others, and those of workers."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from glm_gguf.errors import EngineError, RequestError
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.library import ggml_function

# enum ggml_backend_dev_type of ggml-backend.h
GGML_BACKEND_DEVICE_TYPE_CPU: Final = 0
GGML_BACKEND_DEVICE_TYPE_GPU: Final = 1
GGML_BACKEND_DEVICE_TYPE_IGPU: Final = 2
METAL: Final = "MTL"  # GGML_METAL_NAME of ggml-metal.cpp, before the number


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU as one of ggml's backends knows it; `pointer` is its ggml_backend_dev_t."""

    name: str
    description: str
    identity: str
    """The same in every backend that lists the GPU."""
    integrated: bool
    """The GPU is part of a processor."""
    pointer: int
    memory: int | None
    """Free bytes; None where the backend tells none. Metal tells what is left of the working set that macOS recommends
    (ggml_metal_device_get_memory of ggml-metal-device.m)."""
    lent: bool = False
    """It is a worker's, GPU or CPU, and `memory` is what the worker leaves to a model."""

    @property
    def is_apple(self) -> bool:
        """Whether this is the GPU of Apple's processors; Metal drives the GPUs of Macs with Intel's too."""
        return self.name.startswith(METAL) and self.description.startswith("Apple ")

    @property
    def unified(self) -> bool:
        """Whether it computes from main memory and has none of its own; ggml calls Apple's no integrated GPU."""
        return self.integrated or self.is_apple


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
    """List the GPUs, integrated ones too; EngineError in a process whose parent listed them before the fork.

    llama_supports_gpu_offload() does not help: it is true wherever llama.cpp was built to reach other machines (RPC).
    """
    first = _first_process()
    # size_t ggml_backend_dev_count(void)
    count = ggml_function("ggml_backend_dev_count", ctypes.c_size_t)()
    # ggml_backend_dev_t ggml_backend_dev_get(size_t index)
    get = ggml_function("ggml_backend_dev_get", ctypes.c_void_p, ctypes.c_size_t)
    # enum ggml_backend_dev_type ggml_backend_dev_type(ggml_backend_dev_t device)
    kind = ggml_function("ggml_backend_dev_type", ctypes.c_int, ctypes.c_void_p)
    wanted = (GGML_BACKEND_DEVICE_TYPE_GPU, GGML_BACKEND_DEVICE_TYPE_IGPU)
    found = [pointer for pointer in map(get, range(count)) if pointer and kind(pointer) in wanted]
    if found and first != os.getpid():  # CUDA's calls would fail, and ggml would abort
        fix = "open the model in a new process, as multiprocessing's spawn starts, or with n_gpu_layers=0"
        raise EngineError("a process that was forked after its parent used the GPU cannot use it", fix=fix)
    return tuple(map(_device, found))


def chosen_gpus(options: EngineOptions) -> tuple[Device, ...]:
    """List the GPUs that the options allow, in their order.

    Raises RequestError for a name that no GPU has, EngineError in a process whose parent listed them before the fork.
    """
    _first_process()  # llama.cpp initialises the GPUs in any case
    if options.n_gpu_layers == 0:
        return ()
    return named_gpus(options.devices)


def named_gpus(names: Sequence[str]) -> tuple[Device, ...]:
    """List the GPUs of these names, or all where there is none; RequestError for a name that no GPU has."""
    if not names:
        return each_once(gpus())
    known = {device.name: device for device in gpus()}
    for name in names:
        if name not in known:
            there = ", ".join(known) or "none"
            raise RequestError(f"there is no GPU {name!r}", field="devices", fix=f"llama.cpp finds: {there}")
    return tuple(known[name] for name in names)


def each_once(known: Sequence[Device]) -> tuple[Device, ...]:
    """Keep the first backend of each GPU, and integrated GPUs only where there is no other."""
    wanted = [gpu for gpu in known if not gpu.integrated] or known
    found: dict[str, Device] = {}
    for gpu in wanted:
        found.setdefault(gpu.identity, gpu)
    return tuple(found.values())


def cpu_device() -> tuple[int, str]:
    """Return the CPU's ggml_backend_dev_t, and the name that its maker gave it."""
    # ggml_backend_dev_t ggml_backend_dev_by_type(enum ggml_backend_dev_type type)
    pointer = ggml_function("ggml_backend_dev_by_type", ctypes.c_void_p, ctypes.c_int)(GGML_BACKEND_DEVICE_TYPE_CPU)
    assert pointer
    # const char * ggml_backend_dev_description(ggml_backend_dev_t device)
    describe = ggml_function("ggml_backend_dev_description", ctypes.c_char_p, ctypes.c_void_p)
    return int(pointer), describe(pointer).decode("utf-8", "replace")


def rpc_function(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    """Return a function of ggml's RPC backend; EngineError where llama.cpp was built without it."""
    # ggml_backend_reg_t ggml_backend_reg_by_name(const char * name)
    backend = ggml_function("ggml_backend_reg_by_name", ctypes.c_void_p, ctypes.c_char_p)(b"RPC")
    if not backend:
        fix = "build llama-cpp-python with CMAKE_ARGS=-DGGML_RPC=on, as scripts/setup does"
        raise EngineError("llama.cpp was built without RPC, which workers need", fix=fix)
    # void * ggml_backend_reg_get_proc_address(ggml_backend_reg_t reg, const char * name)
    look_up = ggml_function("ggml_backend_reg_get_proc_address", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)
    found: Callable[..., Any] = ctypes.CFUNCTYPE(result, *arguments)(look_up(backend, name.encode()))
    return found


def backend_devices(backend: int) -> tuple[int, ...]:
    """Return the ggml_backend_dev_t of each device of a ggml_backend_reg_t."""
    # size_t ggml_backend_reg_dev_count(ggml_backend_reg_t reg)
    count = ggml_function("ggml_backend_reg_dev_count", ctypes.c_size_t, ctypes.c_void_p)(backend)
    # ggml_backend_dev_t ggml_backend_reg_dev_get(ggml_backend_reg_t reg, size_t index)
    get = ggml_function("ggml_backend_reg_dev_get", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    return tuple(get(backend, index) for index in range(count))


@cache
def _first_process() -> int:
    """Return the process that listed the GPUs first."""
    return os.getpid()


def _device(pointer: int) -> Device:
    # void ggml_backend_dev_get_props(ggml_backend_dev_t device, struct ggml_backend_dev_props * props)
    ask = ggml_function("ggml_backend_dev_get_props", None, ctypes.c_void_p, ctypes.POINTER(_Properties))
    found = _Properties()
    ask(pointer, ctypes.byref(found))
    name, description, identity = (
        text.decode("utf-8", "replace") for text in (found.name, found.description, found.device_id or found.name)
    )
    integrated = found.type == GGML_BACKEND_DEVICE_TYPE_IGPU
    memory = found.memory_free if found.memory_total else None
    return Device(name, description, identity, integrated, pointer, memory)
