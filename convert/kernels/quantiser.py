"""Quantise rows with our own kernel if there is one and it pays, else with ggml; the bytes are the same.

They are ggml's, as it computes without fusing multiply and add, on every machine. A process compares each quantiser
that it uses with recorded digests once. Where this machine's ggml fuses, kernels do what they can, also for small
tensors; what is left has this machine's own bytes, and `reproducible` tells.
"""

from __future__ import annotations

import importlib
import logging
from functools import cache
from threading import Lock
from typing import Protocol, cast

import numpy as np
from gguf import GGMLQuantizationType

from glm_gguf.convert.kernels import ggml
from glm_gguf.convert.kernels.digests import references
from glm_gguf.convert.kernels.ggml import Bytes, Floats

PLAIN = frozenset(
    GGMLQuantizationType[name] for name in ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "IQ3_S")
)
"""Types with a kernel: `quantise` in the module of the type's name."""

WEIGHTED = PLAIN | {
    GGMLQuantizationType[name]
    for name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ3_XXS", "IQ2_XS", "IQ2_S", "IQ2_XXS", "IQ1_S", "IQ1_M")
}
"""Types with a kernel for an importance matrix: `quantise_weighted` in the same module."""

WORTH_COMPILING = 2**20
"""Weights of the smallest tensor for a kernel. Compiling one takes seconds, once a machine; meanwhile ggml
quantises some ten million weights, more than models of smaller tensors have."""

_CHECKING = {(type_, weighted): Lock() for type_ in GGMLQuantizationType for weighted in (False, True)}
"""One thread compiles a kernel and the others wait for it; meanwhile they quantise other types."""

_importing = Lock()
_log = logging.getLogger(__name__)


class Kernel(Protocol):
    """A compiled function over flat rows."""

    def __call__(self, rows: Floats, importance: Floats | None, out: Bytes) -> None:
        """Quantise all blocks of `rows` (weights,) to `out` (bytes,); `importance` (columns,) may be None."""


def quantise(type_: GGMLQuantizationType, rows: Floats, imatrix: Floats | None, n_weights: int | None = None) -> Bytes:
    """Quantise `rows` (n, columns) of a tensor of `n_weights` as ggml does where it does not fuse."""
    weighted = imatrix is not None
    if (rows.size if n_weights is None else n_weights) >= WORTH_COMPILING or not ggml_agrees(type_, weighted):
        found = kernel(type_, weighted)
        if found is not None:
            return run(found, type_, rows, imatrix)
    return ggml.quantise(type_, rows, imatrix)


def reproducible(type_: GGMLQuantizationType, weighted: bool) -> bool:
    """Whether this machine quantises the type to the bytes of every other, with an importance matrix if `weighted`."""
    return ggml_agrees(type_, weighted) or kernel(type_, weighted) is not None


def kernel(type_: GGMLQuantizationType, weighted: bool) -> Kernel | None:
    """The type's kernel, checked; None if there is none, or it does not compile, or differs from the digests."""
    if type_ not in (WEIGHTED if weighted else PLAIN):
        return None
    with _CHECKING[type_, weighted]:
        return _checked(type_, weighted)


def ggml_agrees(type_: GGMLQuantizationType, weighted: bool) -> bool:
    """Whether this machine's ggml gives the recorded bytes of the type."""
    with _CHECKING[type_, weighted]:
        return _ggml_agrees(type_, weighted)


def run(found: Kernel, type_: GGMLQuantizationType, rows: Floats, imatrix: Floats | None) -> Bytes:
    """Quantise rows (n, columns) with a kernel; returns (n, row_bytes)."""
    out = np.empty((len(rows), ggml.row_bytes(type_, rows.shape[1])), np.uint8)
    found(flat(rows), None if imatrix is None else flat(imatrix), out.reshape(-1))
    return out


def flat(array: Floats) -> Floats:
    """A flat read-only view, as mapped arrays are: numba would compile again for a writable one."""
    view = np.asarray(array).reshape(-1)
    view.flags.writeable = False
    return view


@cache
def _ggml_agrees(type_: GGMLQuantizationType, weighted: bool) -> bool:
    if type_ is GGMLQuantizationType.F32:
        return True
    return references()[type_].meets(lambda rows, imatrix: ggml.quantise(type_, rows, imatrix), weighted)


@cache
def _checked(type_: GGMLQuantizationType, weighted: bool) -> Kernel | None:
    name = f"{type_.name} with an importance matrix" if weighted else type_.name
    with _importing:
        if not _has_numba():
            return None
    from numba.core.errors import NumbaError

    try:
        found = _load(type_, weighted)
        same = agrees(found, type_, weighted)
    except (NumbaError, AttributeError, OSError, RuntimeError) as problem:  # an unknown processor or numba
        _log.warning("ggml quantises %s, our kernel does not compile here: %s", name, problem)
        return None
    if not same:
        _log.warning("ggml quantises %s, our kernel makes other bytes on this processor", name)
        return None
    _log.info("our kernel quantises %s", name)
    return found


@cache
def _has_numba() -> bool:
    """Return whether numba is installed; if not, log that once a process."""
    try:
        import llvmlite  # noqa: F401
        import numba  # noqa: F401
    except ImportError as problem:
        fix = "pip install 'glm-gguf[fast]' makes it several times faster"
        _log.warning("ggml quantises, for our kernels cannot be compiled: %s; %s", problem, fix)
        return False
    return True


def agrees(found: Kernel, type_: GGMLQuantizationType, weighted: bool) -> bool:
    """Whether a kernel gives the recorded bytes of the type."""
    return references()[type_].meets(lambda rows, imatrix: run(found, type_, rows, imatrix), weighted)


def _load(type_: GGMLQuantizationType, weighted: bool) -> Kernel:
    """Import the kernel, and with it numba."""
    module = importlib.import_module(f"glm_gguf.convert.kernels.{type_.name.lower()}")
    if weighted:
        return cast(Kernel, module.quantise_weighted)
    return lambda rows, _importance, out: module.quantise(rows, out)
