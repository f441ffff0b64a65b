"""Compile kernels with numba; their machine code is stored on disk, so a machine compiles each kernel once.

numba stores it beside the module, or in the user's cache directory if the package is read-only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from inspect import unwrap
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final, TypeVar

from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile

Function = TypeVar("Function", bound=Callable[..., Any])

SOURCES = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()
"""Hash of all kernel modules: numba itself checks only the file of the called function."""


DAMAGED: Final = (EOFError, UnpicklingError, LookupError, TypeError, ValueError, AttributeError, ImportError)
"""What pickle raises for a file that a crash left empty or in part: numba renames it before it is on the disk."""


class KernelFiles(IndexDataCacheFile):  # type: ignore[misc]
    """numba's files of one function. Machine code has a name by what it is, not by what the index holds just then.

    With numba's numbers, two processes that compile at once, for two types or two processors, could store one's code
    where the other's index leads.
    """

    def save(self, key: Any, data: Any) -> None:
        """Store machine code, then name it in the index; of two processes at once one may have to compile again."""
        name = f"{Path(self._index_name).stem}.{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.nbc"
        self._save_data(name, data)
        self._save_index({**self._load_index(), key: name})


class KernelCache(FunctionCache):  # type: ignore[misc]
    """numba's cache, which also drops a kernel if any function it calls has changed, or if a file is damaged."""

    def __init__(self, function: Callable[..., Any], type_: str) -> None:
        super().__init__(function)
        self._cache_file = KernelFiles(self.cache_path, self._impl.filename_base, self._impl.locator.get_source_stamp())
        self._type = type_

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what is stored for a signature; None where nothing is, or nothing that can be read."""
        try:
            return super().load_overload(sig, target_context)
        except DAMAGED:
            self.flush()
            return None

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        # numba would pickle a closure's functions, and a compiled function pickles differently in each process
        return sig, codegen.magic_tuple(), self._type, SOURCES


def subroutine(function: Function) -> Function:
    """Compile a function that kernels call; division by zero follows IEEE, as in C."""
    compiled: Function = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
    return compiled


def inlined(function: Function) -> Function:
    """Compile a small function into each of its callers."""
    compiled: Function = njit(error_model="numpy", forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)(
        function
    )
    return compiled


def kernel(function: Function, type_: str = "") -> Function:
    """Compile a function that Python calls: without the GIL, at its first call, once a machine.

    `type_` names the type if one function is compiled for several.
    """
    compiled: Any = njit(error_model="numpy", nogil=True)(function)
    with suppress(RuntimeError):  # no directory may be written: every process compiles
        compiled._cache = KernelCache(function, type_)
    typed: Function = compiled
    return typed


def stored_processors(compiled: Any) -> frozenset[str]:
    """Name the processors, in LLVM's words, for which the machine code of a kernel as it is now is stored on disk."""
    cache = getattr(unwrap(compiled, stop=lambda function: hasattr(function, "_cache")), "_cache", None)
    if not isinstance(cache, KernelCache):
        return frozenset()
    try:
        keys = cache._cache_file._load_index()
    except DAMAGED:
        return frozenset()
    return frozenset(magic[1] for _, magic, type_, sources in keys if (type_, sources) == (cache._type, SOURCES))
