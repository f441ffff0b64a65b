"""A model in a GGUF, checked: its sizes, and its tensors as they are converted again."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from math import prod
from typing import Self

from gguf import GGMLQuantizationType as Type

from glm_gguf.architectures import MODELS
from glm_gguf.convert.source.gguf_source import GgufSource
from glm_gguf.convert.source.safetensors_file import StoredTensor
from glm_gguf.convert.source.shards import Shard
from glm_gguf.convert.source.tensor_names import SourceTensor, llama_order
from glm_gguf.errors import GgufError
from glm_gguf.gguf_file.contents import architecture, head_dim, kv_heads, model_integer
from glm_gguf.gguf_file.crash_findings import require_loadable
from glm_gguf.gguf_file.diagnosis import diagnose
from glm_gguf.gguf_file.finding import Severity
from glm_gguf.gguf_file.header import GgufHeader
from glm_gguf.gguf_file.tensor_findings import layer_findings
from glm_gguf.gguf_file.tensor_list import TensorInfo
from glm_gguf.gguf_file.values import text

WEIGHT_TYPES = frozenset(type_.name for type_ in Type)
"""Names of the types that ggml turns into float32."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GgufSizes:
    """What a plan and its view ask of a model; context in tokens."""

    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    max_position: int


@dataclass(frozen=True, slots=True)
class GgufCheckpoint:
    """A GGUF that llama.cpp loads, with the tensors that its keys promise."""

    source: GgufSource
    config: GgufSizes
    tensors: tuple[SourceTensor, ...]
    """In llama.cpp's order; a dtype is the name of a GGML type."""

    head_kept = False

    @classmethod
    def open(cls, source: GgufSource) -> Self:
        """Check keys and tensor list; raises GgufError. Faults of keys are copied, and told by a warning."""
        parts = source.parts
        _check_kind(source)
        require_loadable(parts)
        for finding in layer_findings(parts):
            if finding.severity is Severity.PROBLEM:
                raise GgufError(finding.what, path=source.where, fix=finding.mend)
        config = _sizes(source)
        for finding in diagnose(parts):
            if finding.severity is Severity.PROBLEM:
                _log.warning(
                    "%s: %s: the new file has the same fault; to mend it, %s", source.where, finding.what, finding.mend
                )
        located = ((header, tensor) for header in parts.files for tensor in header.tensors)
        tensors = (_source_tensor(header, tensor) for header, tensor in located)
        return cls(source, config, tuple(sorted(tensors, key=lambda tensor: llama_order(tensor.gguf_name))))

    @property
    def shard_names(self) -> tuple[str, ...]:
        """The files that hold the tensors, in name order."""
        return self.source.shards.names()


def _check_kind(source: GgufSource) -> None:
    """Refuse what is no model of this family: adapters, importance matrices, other architectures."""
    metadata = source.parts.metadata
    kind, found = text(metadata, "general.type"), architecture(metadata)
    if kind not in (None, "model"):
        raise GgufError(
            f"this GGUF holds no model: its general.type is {kind!r}", path=source.where, fix="name a model"
        )
    if found not in MODELS:
        fix = f"{' and '.join(MODELS)} can be converted"
        raise GgufError(f"its architecture is {found!r}", path=source.where, fix=fix)


def _sizes(source: GgufSource) -> GgufSizes:
    """The model's sizes; raises GgufError for keys that are missing."""
    metadata = source.parts.metadata
    found = {
        "block_count": model_integer(metadata, "block_count"),
        "attention.head_count": model_integer(metadata, "attention.head_count"),
        "attention.head_count_kv": kv_heads(metadata),
        "attention.key_length": head_dim(metadata),
        "context_length": model_integer(metadata, "context_length"),
    }
    for key, value in found.items():
        if value is None or value < 1:
            what = (
                f"key {architecture(metadata)}.{key} is missing"
                if value is None
                else f"key {architecture(metadata)}.{key} is {value}"
            )
            raise GgufError(what, path=source.where, fix="glm-gguf inspect tells all faults of the file")
    return GgufSizes(*(value or 0 for value in found.values()))


def _source_tensor(header: GgufHeader, tensor: TensorInfo) -> SourceTensor:
    shard, dtype = Shard(header.path.name, str(header.path)), tensor.type.name.upper()
    if dtype not in WEIGHT_TYPES:
        raise GgufError(f"tensor {tensor.name!r} is {tensor.type.name}, which is not converted", path=header.path)
    shape = tensor.shape[::-1]
    while len(shape) > 1 and shape[0] == 1:  # ggml takes no account of outer dimensions of 1
        shape = shape[1:]
    assert prod(shape) == tensor.n_elements
    return SourceTensor(tensor.name, StoredTensor(tensor.name, dtype, shape, shard, tensor.offset, tensor.n_bytes))
