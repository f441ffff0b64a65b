"""The plan of a conversion: every tensor's type, size and file, decided before a weight is read."""

from __future__ import annotations

from dataclasses import dataclass

from gguf import GGMLQuantizationType as Type

from glm_gguf.convert.metadata import KeyValues
from glm_gguf.convert.recipe.file_types import FileType, tensor_bytes
from glm_gguf.convert.recipe.imatrix import Floats
from glm_gguf.convert.recipe.recipe import Recipe
from glm_gguf.convert.source.checkpoint import Checkpoint
from glm_gguf.convert.source.gguf_checkpoint import GgufCheckpoint
from glm_gguf.convert.source.tensor_names import SourceTensor
from glm_gguf.gguf_file.contents import PADDED_FROM
from glm_gguf.gguf_file.values import integer
from glm_gguf.variant import Variant


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """One tensor: its source, its type in the GGUF, and the importance (columns,) of its columns."""

    source: SourceTensor
    type: Type
    importance: Floats | None

    @property
    def name(self) -> str:
        """Its name in the GGUF."""
        return self.source.gguf_name

    @property
    def shape(self) -> tuple[int, ...]:
        """Row-major shape in the GGUF."""
        return self.source.shape

    @property
    def stored_type(self) -> Type | None:
        """The type of its source; None for one that no GGUF has."""
        return Type.__members__.get(self.source.stored.dtype)

    @property
    def copied(self) -> bool:
        """Whether the source has the type already, and nothing is added to it."""
        return self.type is self.stored_type and not self.source.updates

    @property
    def n_bytes(self) -> int:
        """Bytes in the GGUF, without alignment."""
        return tensor_bytes(self.type, self.shape)


@dataclass(frozen=True, slots=True)
class Plan:
    """All decisions for one file type: `files` holds the tensors of each file."""

    checkpoint: Checkpoint | GgufCheckpoint
    variant: Variant
    file_type: FileType
    metadata: KeyValues
    files: tuple[tuple[TensorPlan, ...], ...]
    default_name: str
    recipe: Recipe | None = None
    """What chose the types; None where llama.cpp's mix did."""

    @property
    def tensors(self) -> tuple[TensorPlan, ...]:
        """All tensors, in the order they are written."""
        return tuple(tensor for file in self.files for tensor in file)

    @property
    def padded_from(self) -> int | None:
        """The width of the feed-forward that zeros pad; None for one that is as stored."""
        padded = any(tensor.source.padding for tensor in self.tensors)
        return integer(self.metadata, PADDED_FROM) if padded else None

    @property
    def n_params(self) -> int:
        """Number of the checkpoint's weights."""
        return sum(tensor.source.n_weights for tensor in self.tensors)

    @property
    def n_bytes(self) -> int:
        """Bytes of tensor data."""
        return sum(tensor.n_bytes for tensor in self.tensors)

    @property
    def bits_per_weight(self) -> float:
        """Average over all tensors; 0 for a vocabulary alone."""
        return 8 * self.n_bytes / self.n_params if self.n_params else 0.0
