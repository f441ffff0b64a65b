"""How kernels are compiled: machine code is kept on disk, so that a machine compiles each kernel once.

numba keeps it beside the module, or in the user's cache directory where the package is read-only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from numba import njit
from numba.core.caching import FunctionCache

Function = TypeVar("Function", bound=Callable[..., Any])

SOURCES = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()
"""Of all kernel modules: numba itself looks only at the file of the function that is called."""


class KernelCache(FunctionCache):  # type: ignore[misc]
    """numba's cache, which also forgets a kernel when a function that it is made of has changed."""

    def __init__(self, function: Callable[..., Any], type_: str) -> None:
        super().__init__(function)
        self._type = type_

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        # numba would pickle what a closure refers to, and a compiled function pickles differently in each process
        return sig, codegen.magic_tuple(), self._type, SOURCES


def subroutine(function: Function) -> Function:
    """Compile a function that kernels call; division by zero follows IEEE, as in C."""
    compiled: Function = njit(error_model="numpy")(function)
    return compiled


def inlined(function: Function) -> Function:
    """Compile a small function into each of its callers."""
    compiled: Function = njit(error_model="numpy", forceinline=True)(function)
    return compiled


def kernel(function: Function, type_: str = "") -> Function:
    """Compile a function that Python calls: without the GIL, at its first call, once a machine.

    `type_` tells kernels apart that one piece of source makes for several types.
    """
    compiled: Any = njit(error_model="numpy", nogil=True)(function)
    with suppress(RuntimeError):  # no directory may be written: every process compiles
        compiled._cache = KernelCache(function, type_)
    typed: Function = compiled
    return typed
