"""The heads of the files that plans would write, as the reader reads them; nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from glm_gguf.convert.plan import Plan
from glm_gguf.convert.writing.layout import lay_out
from glm_gguf.gguf_file.ggml_types import TYPES
from glm_gguf.gguf_file.header import GgufHeader
from glm_gguf.gguf_file.tensor_list import TensorInfo, align


def planned_heads(plans: Sequence[Plan]) -> tuple[GgufHeader, ...]:
    """Return a head for each plan of one checkpoint, of a split one as if it were a single file.

    Heads of several types differ in their tensors' types alone, and in the number of the file type. So one is laid out,
    with its long vocabulary. All keep that one's keys.
    """
    (layout,) = lay_out(replace(plans[0], files=(plans[0].tensors,)))
    path = Path(plans[0].default_name)
    first = GgufHeader.parse(layout.header, path, layout.n_bytes)
    return tuple(_with_tensors(first, plan) for plan in plans)


def _with_tensors(head: GgufHeader, plan: Plan) -> GgufHeader:
    """Return a head with a plan's tensors, behind one another as they are written."""
    offset, tensors = head.data_offset, []
    for tensor in plan.tensors:
        shape = tuple(reversed(tensor.shape))
        tensors.append(TensorInfo(tensor.name, shape, TYPES[int(tensor.type)], offset, tensor.n_bytes))
        offset = align(offset + tensor.n_bytes, head.alignment)
    return replace(head, path=Path(plan.default_name), tensors=tuple(tensors), file_size=offset)
