"""A LoRA adapter as GGUF, as llama.cpp's loader takes it: `NAME.lora_a` and `NAME.lora_b` for tensors of the base.

llama.cpp multiplies B·A by adapter.lora.alpha / rank. Where that is not PEFT's scale, the rest is multiplied into B.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_VERSION, LlamaFileType, naming_convention, size_label
from gguf import GGMLQuantizationType as Type

from glm_gguf.convert.adapter.base_model import BaseModel, open_base
from glm_gguf.convert.adapter.base_names import refuse_other_base
from glm_gguf.convert.adapter.factor import Factor
from glm_gguf.convert.adapter.fit import fit
from glm_gguf.convert.adapter.low_rank import LowRank, tell_of_zeros
from glm_gguf.convert.adapter.peft_adapter import PeftAdapter
from glm_gguf.convert.kernels import ggml
from glm_gguf.convert.source.tensor_names import llama_order
from glm_gguf.convert.writing.output import Target, check_outputs, check_places, output_directory, output_paths
from glm_gguf.errors import RequestError, WeightError
from glm_gguf.gguf_file.ggml_types import TYPES
from glm_gguf.gguf_file.head_writer import encode_head
from glm_gguf.gguf_file.tensor_list import TensorEntry
from glm_gguf.gguf_file.values import Scalar, Text, Value, ValueType
from glm_gguf.whole_file import UnfinishedFile, whole_file


@dataclass(frozen=True, slots=True)
class FloatType:
    """A type of an adapter's tensors, and the number of the file type."""

    type: Type
    file_type: LlamaFileType


FILE_TYPES = {
    "F32": FloatType(Type.F32, LlamaFileType.ALL_F32),
    "F16": FloatType(Type.F16, LlamaFileType.MOSTLY_F16),
    "BF16": FloatType(Type.BF16, LlamaFileType.MOSTLY_BF16),
}
ALIGNMENT = 32  # GGUF_DEFAULT_ALIGNMENT
HEADER_BYTES = 2**20  # bytes for keys and names, at most
LARGEST = {Type.F32: float(np.finfo(np.float32).max), Type.F16: 65504.0, Type.BF16: 2.0**127 * (2 - 2.0**-7)}
"""The largest finite weight of each type."""


@dataclass(frozen=True, slots=True)
class AdapterOptions:
    """How an adapter is written."""

    type: str = "F32"
    """F32, F16 or BF16."""
    name: str | None = None
    """general.name; None takes the directory's."""
    force: bool = False
    """Replace an existing output."""

    def __post_init__(self) -> None:
        if not isinstance(self.type, str) or self.type.upper() not in FILE_TYPES:
            what = f"{self.type!r} is no type for an adapter"
            raise RequestError(what, field="type", fix=f"there are {', '.join(FILE_TYPES)}")
        if not isinstance(self.name, str | None) or not isinstance(self.force, bool):
            what = f"the name {self.name!r} with force {self.force!r}"
            raise RequestError(what, field="name", fix="give a text or None, and True or False")


@dataclass(frozen=True, slots=True)
class LoraTensor:
    """A factor as it is written: multiplied by `times`, in `type`."""

    name: str
    factor: Factor
    times: float
    type: Type

    @property
    def n_bytes(self) -> int:
        """Bytes in the file, without alignment."""
        return prod(self.factor.shape) * (4 if self.type is Type.F32 else 2)


@dataclass(frozen=True, slots=True)
class LoraFile:
    """The plan of an adapter's file."""

    adapter: PeftAdapter
    base: BaseModel
    updates: tuple[LowRank, ...]
    options: AdapterOptions
    path: Path
    out: Target | None

    @classmethod
    def prepare(cls, directory: Path, base: str, out: Target | None, options: AdapterOptions) -> LoraFile:
        """Read the adapter and what it changes; raises GlmGgufError."""
        adapter = PeftAdapter.open(directory)
        model = open_base(base)
        refuse_other_base(adapter, model.names, model.where)
        updates = sorted(fit(adapter, model), key=lambda update: llama_order(update.gguf_name))
        name = naming_convention(f"{model.title}-{adapter.name}", None, None, None, None, options.type, "LoRA")
        (path,) = output_paths(out, f"{name}.gguf", 1)
        return cls(adapter, model, tuple(updates), options, path, out)

    @property
    def alpha(self) -> float:
        """The alpha with which most tensors need no factor of their own."""
        return Counter(update.scale * update.rank for update in self.updates).most_common(1)[0][0]

    @property
    def tensors(self) -> tuple[LoraTensor, ...]:
        """Both factors of every tensor, in llama.cpp's order."""
        return tuple(tensor for update in self.updates for tensor in self._pair(update))

    def _pair(self, update: LowRank) -> Iterator[LoraTensor]:
        """lora_a (rank, columns) and lora_b (rows, rank); of the embedding (rows, rank) and (columns, rank)."""
        a, b = (update.left, update.right.transpose()) if update.embedding else (update.right, update.left)
        type_, times = FILE_TYPES[self.options.type.upper()].type, update.scale * update.rank / self.alpha
        yield LoraTensor(f"{update.gguf_name}.lora_a", a, 1.0, type_)
        yield LoraTensor(f"{update.gguf_name}.lora_b", b, times, type_)

    @property
    def n_bytes(self) -> int:
        """Bytes of tensor data."""
        return sum(tensor.n_bytes for tensor in self.tensors)

    def check_places(self) -> None:
        """Raise OutputError where the file of a dry run cannot stand."""
        check_places(self.out, [self.path], self._inputs())

    def _inputs(self) -> list[Path]:
        """The files that are read, and must not be written."""
        base = Path(self.base.where)
        return [*self.adapter.directory.iterdir(), *([base] if base.is_file() else [])]

    def write(self) -> Path:
        """Write the file, which appears when it is complete; raises GlmGgufError."""
        with output_directory(self.out):
            check_outputs([self.path], self._inputs(), self.n_bytes + HEADER_BYTES, force=self.options.force)
            with whole_file(self.path) as file:
                file.write(self._header())
                for tensor in self.tensors:
                    _write_tensor(file, tensor)
                file.finish()
        tell_of_zeros(self.updates)
        return self.path

    def _header(self) -> bytes:
        """Keys and tensor list, padded to the first tensor."""
        places = accumulate((_padded(tensor.n_bytes) for tensor in self.tensors), initial=0)
        entries = [
            TensorEntry(tensor.name, tensor.factor.shape[::-1], TYPES[int(tensor.type)], place)
            for tensor, place in zip(self.tensors, places, strict=False)
        ]
        header = encode_head(self._keys(), entries)
        return header.ljust(_padded(len(header)), b"\0")

    def _keys(self) -> Mapping[str, Value]:
        """The keys, in the order of llama.cpp's script."""
        n_params = sum(prod(tensor.factor.shape) for tensor in self.tensors)
        url = {} if self.base.url is None else {"general.base_model.0.repo_url": Text(self.base.url)}
        return {
            "general.architecture": Text(self.base.architecture),
            "general.type": Text("adapter"),
            "general.name": Text(self.options.name or self.adapter.name),
            "general.size_label": Text(size_label(n_params, 0, 0, 0)),
            "general.base_model.count": Scalar(ValueType.UINT32, 1),
            "general.base_model.0.name": Text(self.base.title),
            **url,
            "adapter.type": Text("lora"),
            "adapter.lora.alpha": Scalar(ValueType.FLOAT32, self.alpha),
            "general.quantization_version": Scalar(ValueType.UINT32, GGML_QUANT_VERSION),
            "general.file_type": Scalar(ValueType.UINT32, FILE_TYPES[self.options.type.upper()].file_type),
        }


def convert_adapter(
    directory: str | Path, base: str | Path, out: Target | None = None, options: AdapterOptions | None = None
) -> Path:
    """Write a PEFT adapter as a LoRA GGUF: `convert_adapter("my-lora", "GLM-4-9B-0414")`.

    `base` is the model that it was trained on: a GGUF, a directory or hf://OWNER/NAME. Raises GlmGgufError.
    """
    return LoraFile.prepare(Path(directory), str(base), out, options or AdapterOptions()).write()


def _write_tensor(file: UnfinishedFile, tensor: LoraTensor) -> None:
    """Write one factor and its padding; raises WeightError for a weight that the type does not hold."""
    for block in tensor.factor.blocks():
        values = block if tensor.times == 1 else block * np.float64(tensor.times)
        largest = float(np.abs(values).max())
        if largest > LARGEST[tensor.type]:
            what = f"{tensor.name} holds {largest:g}, which is outside the range of {tensor.type.name}"
            fix = 'type="F32" holds it' if largest <= LARGEST[Type.F32] else "the adapter is damaged: fetch it again"
            raise WeightError(what, path=file.path, fix=fix)
        file.write(ggml.quantise(tensor.type, np.ascontiguousarray(values, np.float32), None).tobytes())
    file.write(bytes(-tensor.n_bytes % ALIGNMENT))


def _padded(n_bytes: int) -> int:
    return n_bytes + -n_bytes % ALIGNMENT
