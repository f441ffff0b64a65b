"""llama.cpp as the peer to compare with: its quantiser and its file reader, not ours."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path

import llama_cpp.llama_cpp as api
import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, LlamaFileType


@api.llama_log_callback
def _quiet(_level: int, _text: bytes, _data: object) -> None:
    pass


def llama_quantize(
    source: Path,
    out: Path,
    file_type: LlamaFileType,
    *,
    imatrix: Mapping[str, np.ndarray] | None = None,
    overrides: Mapping[str, GGMLQuantizationType] | None = None,
    **fields: int,
) -> None:
    """llama_model_quantize with the given parameters; fails where it fails."""
    api.llama_log_set(_quiet, None)
    params = api.llama_model_quantize_default_params()
    params.ftype, params.nthread = file_type, 2
    for name, value in fields.items():
        setattr(params, name, value)
    values = {name: np.ascontiguousarray(data, np.float32) for name, data in (imatrix or {}).items()}
    if imatrix is not None:
        entry, pointer = api.llama_model_imatrix_data, ctypes.POINTER(ctypes.c_float)
        entries = [entry(name.encode(), data.ctypes.data_as(pointer), data.size) for name, data in values.items()]
        params.imatrix = (entry * (len(entries) + 1))(*entries)
    if overrides is not None:
        override = api.llama_model_tensor_override
        items = [override(pattern.encode(), int(type_)) for pattern, type_ in overrides.items()]
        params.tt_overrides = (override * (len(items) + 1))(*items)
    status = api.llama_model_quantize(str(source).encode(), str(out).encode(), ctypes.byref(params))
    assert status == 0, "llama_model_quantize failed"


def tensors_of(path: Path) -> dict[str, tuple[GGMLQuantizationType, tuple[int, ...], bytes]]:
    """Name → (type, shape, bytes) of every tensor, read by gguf-py."""
    return {
        tensor.name: (tensor.tensor_type, tuple(int(n) for n in tensor.shape), tensor.data.tobytes())
        for tensor in GGUFReader(path).tensors
    }
