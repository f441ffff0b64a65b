"""How the installed llama.cpp was built: its backends, its compiler, and the processor's features that it uses."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from glm_gguf.llama.cpu_kernels import cpu_features, faulty_amx_compiler
from glm_gguf.llama.devices import gpus
from glm_gguf.llama.library import libggml, llama_cpp
from glm_gguf.llama.llama_log import route_log
from glm_gguf.llama.required_version import VERSION

_COMPILER: Final = re.compile(rb"(?:GCC: \([^)\0]*\)|clang version|Apple clang version) [0-9.]+")


@dataclass(frozen=True, slots=True)
class BuildFacts:
    """A build of llama.cpp."""

    version: str
    """Of llama-cpp-python."""
    backends: tuple[str, ...]
    """CPU, CUDA, Metal, RPC …"""
    features: tuple[str, ...]
    """Of the CPU backend, as llama.cpp tells them."""
    compiler: str | None
    """As the CPU backend's library names it; None where it does not."""
    amx_fault: str | None
    """The compiler whose AMX kernels crash; None where there is no AMX, or no fault."""
    gpus: tuple[str, ...]
    """GPUs that it finds, with their descriptions."""

    @classmethod
    def here(cls) -> Self:
        """Ask llama.cpp; OSError where its libraries cannot be read."""
        route_log()
        llama_cpp.llama_backend_init()
        found = tuple(f"{gpu.name}: {gpu.description}" for gpu in gpus())
        features = tuple(sorted(cpu_features()))
        return cls(VERSION, _backends(), features, _compiler(), faulty_amx_compiler(), found)


def _backends() -> tuple[str, ...]:
    # size_t ggml_backend_reg_count(void)
    count = ctypes.CFUNCTYPE(ctypes.c_size_t)(("ggml_backend_reg_count", libggml))
    # ggml_backend_reg_t ggml_backend_reg_get(size_t index)
    get = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_size_t)(("ggml_backend_reg_get", libggml))
    # const char * ggml_backend_reg_name(ggml_backend_reg_t reg)
    name = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p)(("ggml_backend_reg_name", libggml))
    return tuple(name(get(index)).decode() for index in range(count()))


def _compiler() -> str | None:
    directory = Path(llama_cpp.llama_cpp._lib._name).parent
    found = {match.decode() for path in directory.glob("*ggml-cpu*") for match in _COMPILER.findall(path.read_bytes())}
    return ", ".join(sorted(found)) or None
