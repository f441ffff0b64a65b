"""The layout of a GGUF file, to the byte: its header, and the offset of each tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from glm_gguf.convert.metadata import KeyValues
from glm_gguf.convert.plan import Plan, TensorPlan
from glm_gguf.gguf_file.ggml_types import TYPES
from glm_gguf.gguf_file.head_writer import encode_head
from glm_gguf.gguf_file.tensor_list import TensorEntry
from glm_gguf.gguf_file.values import Scalar, ValueType

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
    *places, data_bytes = accumulate((_padded(tensor.n_bytes) for tensor in tensors), initial=0)
    header = _header(tensors, places, metadata)
    return FileLayout(header, tensors, tuple(len(header) + place for place in places), len(header) + data_bytes)


def _metadata(plan: Plan, number: int) -> KeyValues:
    """The keys of one file: the first has all, the others of a split only their number in it."""
    if len(plan.files) == 1:
        return plan.metadata
    split = {
        "split.no": Scalar(ValueType.UINT16, number),
        "split.count": Scalar(ValueType.UINT16, len(plan.files)),
        "split.tensors.count": Scalar(ValueType.INT32, len(plan.tensors)),
    }
    return {**plan.metadata, **split} if number == 0 else split


def _header(tensors: Sequence[TensorPlan], places: Sequence[int], metadata: KeyValues) -> bytes:
    """Key-values and tensor list, padded to the first tensor; `places` are offsets behind that."""
    entries = [
        TensorEntry(tensor.name, tensor.shape[::-1], TYPES[int(tensor.type)], place)
        for tensor, place in zip(tensors, places, strict=True)
    ]
    header = encode_head(metadata, entries)
    return header.ljust(_padded(len(header)), b"\0")


def _padded(n_bytes: int) -> int:
    return n_bytes + -n_bytes % ALIGNMENT
