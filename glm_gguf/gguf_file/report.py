"""The report of `glm-gguf inspect` on a model, as plain values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from glm_gguf.architectures import MODELS
from glm_gguf.gguf_file.contents import (
    PADDED_FROM,
    TEMPLATE_KEY,
    Contents,
    architecture,
    head_dim,
    kv_heads,
    model_integer,
)
from glm_gguf.gguf_file.diagnosis import diagnose
from glm_gguf.gguf_file.finding import Finding, Severity
from glm_gguf.gguf_file.tensor_list import TensorInfo
from glm_gguf.gguf_file.values import (
    Array,
    Number,
    NumberArray,
    Scalar,
    Text,
    TextArray,
    Value,
    integer,
    text,
    type_label,
)
from glm_gguf.variant import Variant, detect_variant

SHOWN_ITEMS: Final = 8
"""Items shown of a longer array, beside its length."""
F16_BYTES: Final = 2
PADDED: Final = (".ffn_up.weight", ".ffn_down.weight")
"""What the zeros of a padded feed-forward go into; gate and up are one matrix."""

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, slots=True)
class TypeShare:
    """The tensors of one type: their number, weights and bytes."""

    name: str
    n_tensors: int
    n_weights: int
    n_bytes: int

    def __post_init__(self) -> None:
        if min(self.n_tensors, self.n_weights, self.n_bytes) < 1:
            raise ValueError(f"no tensor is {self.name}")


@dataclass(frozen=True, slots=True)
class Report:
    """A model's contents and findings."""

    contents: Contents
    types: tuple[TypeShare, ...]
    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, contents: Contents, findings: tuple[Finding, ...] | None = None) -> Self:
        """Sum up and diagnose a model, whose findings may be known already."""
        return cls(contents, _shares(contents.tensors), diagnose(contents) if findings is None else findings)

    @property
    def n_weights(self) -> int:
        """Number of parameters, without the zeros of a padded feed-forward."""
        return sum(share.n_weights for share in self.types) - _padding_zeros(self.contents)

    @property
    def tensor_bytes(self) -> int:
        """Bytes of all tensors, without padding."""
        return sum(share.n_bytes for share in self.types)

    @property
    def bits_per_weight(self) -> float | None:
        """Average bits per weight, scales included; None without tensors."""
        return 8 * self.tensor_bytes / self.n_weights if self.n_weights else None

    @property
    def variant(self) -> Variant | None:
        """The variant by architecture and chat template; None for architectures that this package does not run."""
        found = architecture(self.contents.metadata)
        return detect_variant(self.chat_template, found) if found in MODELS else None

    @property
    def chat_template(self) -> str | None:
        """The chat template."""
        return text(self.contents.metadata, TEMPLATE_KEY)

    @property
    def kv_bytes_per_token(self) -> int | None:
        """Bytes of KV cache per token at f16; None if keys are missing."""
        metadata = self.contents.metadata
        layers, groups = model_integer(metadata, "block_count"), kv_heads(metadata)
        keys, values = head_dim(metadata), head_dim(metadata, "value")
        if layers is None or groups is None or keys is None or values is None:
            return None
        return layers * groups * (keys + values) * F16_BYTES

    @property
    def has_problem(self) -> bool:
        """Whether the model answers wrongly or not at all."""
        return any(finding.severity is Severity.PROBLEM for finding in self.findings)

    def as_json(self) -> dict[str, Json]:
        """Everything, for `inspect --json`; sizes and offsets in bytes, shapes with the innermost dimension first."""
        return {
            "files": [_file_json(self.contents, index) for index in range(len(self.contents.files))],
            "architecture": architecture(self.contents.metadata),
            "variant": self.variant,
            "parameters": self.n_weights,
            "tensor_bytes": self.tensor_bytes,
            "bits_per_weight": self.bits_per_weight,
            "kv_cache_bytes_per_token_f16": self.kv_bytes_per_token,
            "types": [_share_json(share) for share in self.types],
            "metadata": {key: value_json(value) for key, value in self.contents.metadata.items()},
            "chat_template": self.chat_template,
            "findings": [finding_json(finding) for finding in self.findings],
        }


def _padding_zeros(contents: Contents) -> int:
    """Weights that `convert --pad-ffn` added: they are zero, and the model has as many parameters as before."""
    width, before = model_integer(contents.metadata, "feed_forward_length"), integer(contents.metadata, PADDED_FROM)
    if width is None or before is None or not 0 < before < width:
        return 0
    padded = (tensor for tensor in contents.tensors if tensor.name.endswith(PADDED))
    return sum(tensor.n_elements // width * (width - before) for tensor in padded)


def finding_json(finding: Finding) -> Json:
    """What is wrong, why, and how to correct it."""
    return {"severity": finding.severity, "what": finding.what, "why": finding.why, "mend": finding.mend}


def value_json(value: Value) -> Json:
    """A key's type and value; of a long array its length and first items."""
    kind = type_label(value)
    match value:
        case Scalar(value=number):
            return {"type": kind, "value": _number_json(number)}
        case Text(value=string):
            return {"type": kind, "value": string}
        case _:
            return {"type": kind, "length": len(value.items), "items": _first_items(value)}


def _first_items(array: Array) -> Json:
    match array:
        case NumberArray(items=numbers):
            return [_number_json(number) for number in numbers[:SHOWN_ITEMS]]
        case TextArray(items=texts):
            return list(texts[:SHOWN_ITEMS])
        case _:
            return [_first_items(inner) for inner in array.items[:SHOWN_ITEMS]]


def _number_json(number: Number) -> Json:
    """A number for JSON: NaN and the infinities as text."""
    return number if math.isfinite(number) else str(number)


def _file_json(contents: Contents, index: int) -> Json:
    file = contents.files[index]
    return {
        "path": str(file.path),
        "version": file.version,
        "size": file.file_size,
        "alignment": file.alignment,
        "data_offset": file.data_offset,
        "tensors": [_tensor_json(tensor) for tensor in file.tensors],
    }


def _tensor_json(tensor: TensorInfo) -> Json:
    return {
        "name": tensor.name,
        "type": tensor.type.name,
        "shape": list(tensor.shape),
        "offset": tensor.offset,
        "bytes": tensor.n_bytes,
    }


def _share_json(share: TypeShare) -> Json:
    return {"type": share.name, "tensors": share.n_tensors, "parameters": share.n_weights, "bytes": share.n_bytes}


def _shares(tensors: Sequence[TensorInfo]) -> tuple[TypeShare, ...]:
    """One share a type, the largest first."""
    groups: dict[str, list[TensorInfo]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.type.name, []).append(tensor)
    shares = [
        TypeShare(name, len(group), sum(t.n_elements for t in group), sum(t.n_bytes for t in group))
        for name, group in groups.items()
    ]
    return tuple(sorted(shares, key=lambda share: share.n_bytes, reverse=True))
