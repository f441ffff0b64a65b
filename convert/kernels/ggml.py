"""ggml's own quantisers through ctypes, from the library that llama-cpp-python contains.

The library is found without importing llama_cpp. ctypes releases the GIL during a call, so threads
quantise chunks in parallel.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from glm_gguf.errors import EngineError

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

ToFloat = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)


class TypeTraits(ctypes.Structure):
    """struct ggml_type_traits (ggml.h), up to the function pointer that dequantises a row."""

    _fields_ = (
        ("type_name", ctypes.c_char_p),
        ("blck_size", ctypes.c_int64),
        ("blck_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ToFloat),
    )


@cache
def library() -> ctypes.CDLL:
    """llama-cpp-python's libggml-base; raises EngineError if it is missing."""
    spec = importlib.util.find_spec("llama_cpp")
    suffix = {"darwin": "dylib", "win32": "dll"}.get(sys.platform, "so")
    prefix = "" if sys.platform == "win32" else "lib"
    return opened(Path((spec and spec.origin) or "llama_cpp").parent / "lib" / f"{prefix}ggml-base.{suffix}")


def opened(path: Path) -> ctypes.CDLL:
    """Load a libggml-base and declare its functions; raises EngineError if it is missing."""
    try:
        lib = ctypes.CDLL(str(path))
    except OSError as problem:
        raise EngineError(f"cannot be loaded: {problem}", path=path, fix="reinstall llama-cpp-python") from None
    # size_t ggml_quantize_chunk(enum ggml_type type, const float * src, void * dst,
    #                            int64_t start, int64_t nrows, int64_t n_per_row, const float * imatrix)
    lib.ggml_quantize_chunk.argtypes = (
        *(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p),
        *(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p),
    )
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    # bool ggml_validate_row_data(enum ggml_type type, const void * data, size_t nbytes)
    lib.ggml_validate_row_data.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
    lib.ggml_validate_row_data.restype = ctypes.c_bool
    # bool ggml_quantize_requires_imatrix(enum ggml_type type)
    lib.ggml_quantize_requires_imatrix.argtypes = (ctypes.c_int,)
    lib.ggml_quantize_requires_imatrix.restype = ctypes.c_bool
    # const struct ggml_type_traits * ggml_get_type_traits(enum ggml_type type)
    lib.ggml_get_type_traits.argtypes = (ctypes.c_int,)
    lib.ggml_get_type_traits.restype = ctypes.POINTER(TypeTraits)
    return lib


def row_bytes(type_: GGMLQuantizationType, n_columns: int) -> int:
    """Bytes of one row of `n_columns` weights, which divide into the type's blocks."""
    block, size = GGML_QUANT_SIZES[type_]
    assert n_columns % block == 0
    return int(n_columns // block * size)


def quantise(type_: GGMLQuantizationType, rows: Floats, imatrix: Floats | None, by: ctypes.CDLL | None = None) -> Bytes:
    """Quantise `rows` (n, columns) as ggml_quantize_chunk does; `imatrix` (columns,) weighs the columns.

    Returns (n, row_bytes) uint8. The caller has checked that the rows are finite. `by` is another libggml-base.
    """
    n, columns = rows.shape
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    assert imatrix is None or (imatrix.shape == (columns,) and imatrix.dtype == np.float32)
    out = np.empty((n, row_bytes(type_, columns)), np.uint8)
    weights = None if imatrix is None else imatrix.ctypes.data
    written = (by or library()).ggml_quantize_chunk(type_, rows.ctypes.data, out.ctypes.data, 0, n, columns, weights)
    assert written == out.nbytes
    return out


def valid(type_: GGMLQuantizationType, data: Bytes) -> bool:
    """ggml_validate_row_data: no NaN or infinity among the scales of quantised rows."""
    return bool(library().ggml_validate_row_data(type_, data.ctypes.data, data.nbytes))


def requires_imatrix(type_: GGMLQuantizationType) -> bool:
    """Types for which ggml_quantize_chunk aborts the process without an importance matrix."""
    return bool(library().ggml_quantize_requires_imatrix(type_))


def dequantise(type_: GGMLQuantizationType, rows: Bytes) -> Floats:
    """Turn quantised rows (n, row_bytes) back to float32 (n, columns) with ggml's own to_float."""
    block, size = GGML_QUANT_SIZES[type_]
    assert rows.flags.c_contiguous
    out = np.empty((rows.shape[0], rows.shape[1] // size * block), np.float32)
    if type_ == GGMLQuantizationType.F32:
        return rows.view(np.float32)
    library().ggml_get_type_traits(type_)[0].to_float(rows.ctypes.data, out.ctypes.data, out.size)
    return out
