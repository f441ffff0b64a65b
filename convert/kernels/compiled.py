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

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return (*super()._index_key(sig, codegen), SOURCES)


def subroutine(function: Function) -> Function:
    """Compile a function that kernels call; division by zero follows IEEE, as in C."""
    compiled: Function = njit(error_model="numpy")(function)
    return compiled


def inlined(function: Function) -> Function:
    """Compile a small function into each of its callers."""
    compiled: Function = njit(error_model="numpy", forceinline=True)(function)
    return compiled


def kernel(function: Function) -> Function:
    """Compile a function that Python calls: without the GIL, at its first call, once a machine."""
    compiled: Any = njit(error_model="numpy", nogil=True)(function)
    with suppress(RuntimeError):  # nowhere to write: compile in every process
        compiled._cache = KernelCache(function)
    typed: Function = compiled
    return typed
