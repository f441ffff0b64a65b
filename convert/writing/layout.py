"""The layout of a GGUF file, to the byte: its header, and the offset of each tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedWriter, BytesIO
from itertools import accumulate

import numpy as np
from gguf import GGUFValueType, GGUFWriter
from gguf.gguf_writer import GGUFValue, WriterState

from glm_gguf.convert.metadata import ARCH, KeyValues
from glm_gguf.convert.plan import Plan, TensorPlan

ALIGNMENT = 32  # GGUF_DEFAULT_ALIGNMENT


@dataclass(frozen=True, slots=True)
class FileLayout:
    """One file: the bytes before its data, and its tensors in order with their offsets in the file."""

    header: bytes
    tensors: tuple[TensorPlan, ...]
    offsets: tuple[int, ...]
    n_bytes: int
    """Size of the whole file."""


def lay_out(plan: Plan) -> tuple[FileLayout, ...]:
    """The layouts of the plan's files."""
    return tuple(_file(tensors, _metadata(plan, number)) for number, tensors in enumerate(plan.files))


def _file(tensors: tuple[TensorPlan, ...], metadata: KeyValues) -> FileLayout:
    header = _header(tensors, metadata)
    *offsets, n_bytes = accumulate((_padded(tensor.n_bytes) for tensor in tensors), initial=len(header))
    return FileLayout(header, tensors, tuple(offsets), n_bytes)


def _metadata(plan: Plan, number: int) -> KeyValues:
    """The keys of one file: the first has all, the others of a split only their number in it."""
    if len(plan.files) == 1:
        return plan.metadata
    split = {
        "split.no": GGUFValue(number, GGUFValueType.UINT16),
        "split.count": GGUFValue(len(plan.files), GGUFValueType.UINT16),
        "split.tensors.count": GGUFValue(len(plan.tensors), GGUFValueType.INT32),
    }
    return {**plan.metadata, **split} if number == 0 else split


def _header(tensors: Sequence[TensorPlan], metadata: KeyValues) -> bytes:
    """Key-values and tensor list, written by gguf-py and padded to the first tensor."""
    writer = GGUFWriter(None, ARCH)
    writer.kv_data[0].clear()
    writer.kv_data[0].update(metadata)
    for tensor in tensors:
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), tensor.n_bytes, raw_dtype=tensor.type)
    written = BytesIO()
    writer.fout = [BufferedWriter(written)]
    writer.state = WriterState.EMPTY
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.fout[0].flush()
    header = written.getvalue()
    return header.ljust(_padded(len(header)), b"\0")


def _padded(n_bytes: int) -> int:
    return n_bytes + -n_bytes % ALIGNMENT
