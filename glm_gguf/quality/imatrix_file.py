"""Importance matrices as GGUF files, with the sums and counts that llama-imatrix writes; several files as one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from glm_gguf.errors import ImatrixError
from glm_gguf.gguf_file.ggml_types import TYPES
from glm_gguf.gguf_file.head_writer import encode_head
from glm_gguf.gguf_file.header import DEFAULT_ALIGNMENT, MAGIC, GgufHeader
from glm_gguf.gguf_file.tensor_list import TensorEntry, TensorInfo, align
from glm_gguf.gguf_file.values import Scalar, Text, TextArray, Value, ValueType, text, texts
from glm_gguf.quality.activation_sums import ColumnSums, Sums
from glm_gguf.regular_file import open_regular, read_regular
from glm_gguf.whole_file import whole_file

Floats = npt.NDArray[np.float32]
MOST_BYTES: Final = 2**30  # a 32B model's has 20 MB
REMAKE: Final = "make it again: glm-gguf imatrix"
FUSED: Final = re.compile(r"\.attn_qkv\.")
"""Of a file whose query, key and value are one matrix; the parts of another file read the same columns."""
F32: Final = next(kind for kind in TYPES.values() if kind.name == "f32")


@dataclass(frozen=True, slots=True)
class ImportanceMatrix:
    """Sums and counts of each matrix, the names of the texts, and the tokens of a chunk."""

    sums: Sums
    datasets: tuple[str, ...]
    chunk_tokens: int

    def __post_init__(self) -> None:
        if not self.sums or self.chunk_tokens < 1:
            raise ValueError(f"{len(self.sums)} entries, chunks of {self.chunk_tokens} tokens")

    @property
    def n_chunks(self) -> int:
        """Chunks that the most frequent entry has seen, as llama-imatrix counts them."""
        return max(entry.count for entry in self.sums.values()) // self.chunk_tokens

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file of llama-imatrix or of `write`; raises ImatrixError, or GgufError for a malformed file."""
        with open_regular(path, ImatrixError) as file:
            if file.read(4) != MAGIC:
                fix = "write the GGUF form: llama-imatrix --in-file OLD.dat -o NEW.gguf"
                raise ImatrixError("this is no GGUF, and an older .dat has no counts of its tokens", path=path, fix=fix)
        header = GgufHeader.read(path)
        if text(header.metadata, "general.type") != "imatrix":
            raise ImatrixError("this GGUF holds no importance matrix", path=path, fix=REMAKE)
        size = header.metadata.get("imatrix.chunk_size")
        if not isinstance(size, Scalar) or not 1 <= size.value < 2**32:
            raise ImatrixError("imatrix.chunk_size is missing or no size", path=path, fix=REMAKE)
        data = read_regular(path, MOST_BYTES, ImatrixError)
        arrays = {tensor.name: _array(tensor, data, path) for tensor in header.tensors}
        names = [name.removesuffix(".in_sum2") for name in arrays if name.endswith(".in_sum2")]
        if not names:
            raise ImatrixError("it holds no entry", path=path, fix=REMAKE)
        sums = {name: _entry(name, arrays, path) for name in names}
        return cls(sums, texts(header.metadata, "imatrix.datasets") or (), int(size.value))

    def plus(self, other: ImportanceMatrix) -> ImportanceMatrix:
        """Add the sums of another text; the chunks stay as long as here. Widths must agree (`require_width`)."""
        sums = dict(self.sums)
        for name, entry in other.sums.items():
            sums[name] = sums[name].plus(entry) if name in sums else entry
        return ImportanceMatrix(sums, self.datasets + other.datasets, self.chunk_tokens)

    def write(self, path: Path) -> None:
        """Write the file that llama-imatrix would; raises OutputError."""
        entries, arrays, offset = [], [], 0
        for name, values in self._tensors():
            entries.append(TensorEntry(name, (values.size,), F32, offset))
            arrays.append(values)
            offset = align(offset + values.nbytes, DEFAULT_ALIGNMENT)
        head = encode_head(self._metadata(), entries)
        with whole_file(path) as output:
            output.write(head.ljust(align(len(head), DEFAULT_ALIGNMENT), b"\0"))
            for values in arrays:
                data = values.tobytes()
                output.write(data.ljust(align(len(data), DEFAULT_ALIGNMENT), b"\0"))
            output.finish()

    def _tensors(self) -> Iterator[tuple[str, Floats]]:
        for name in sorted(self.sums):
            entry = self.sums[name]
            yield f"{name}.in_sum2", entry.squares.astype("<f4")
            yield f"{name}.counts", np.array([entry.count], "<f4")

    def _metadata(self) -> Mapping[str, Value]:
        return {
            "general.type": Text("imatrix"),
            "imatrix.datasets": TextArray(self.datasets),
            "imatrix.chunk_count": Scalar(ValueType.UINT32, self.n_chunks),
            "imatrix.chunk_size": Scalar(ValueType.UINT32, self.chunk_tokens),
        }


def joined(matrices: Sequence[ImportanceMatrix]) -> ImportanceMatrix:
    """Return several as one, by the chunks of the first."""
    first, *others = matrices
    for other in others:
        first = first.plus(other)
    return first


def require_model(matrix: ImportanceMatrix, path: Path, tensors: Iterable[TensorInfo]) -> None:
    """Raise ImatrixError unless every entry is a matrix of the model, as wide as it is there."""
    widths = {tensor.name: tensor.shape[0] for tensor in tensors}
    for name, entry in matrix.sums.items():
        width = widths.get(name, widths.get(FUSED.sub(".attn_q.", name)))
        if width is None:
            raise ImatrixError(f"the model has no {name}", path=path, fix="it was made for another model")
        if width != entry.squares.size:
            what = f"{name} has {entry.squares.size} columns in it, and {width} in the model"
            raise ImatrixError(what, path=path, fix="it was made for another model")


def _array(tensor: TensorInfo, data: bytes, path: Path) -> Floats:
    if tensor.type != F32:
        raise ImatrixError(f"{tensor.name} is {tensor.type.name}, not f32", path=path, fix=REMAKE)
    return np.frombuffer(data, "<f4", tensor.n_elements, tensor.offset)


def _entry(name: str, arrays: Mapping[str, Floats], path: Path) -> ColumnSums:
    counts = arrays.get(f"{name}.counts")
    if counts is None or counts.size != 1:
        raise ImatrixError(f"{name} has no single count", path=path, fix="experts do not occur in GLM-4")
    squares = arrays[f"{name}.in_sum2"].astype(np.float64)
    if not (np.isfinite(squares).all() and (squares >= 0).all() and 0 <= counts[0] < 2**31):
        raise ImatrixError(f"{name} holds something else than sums of squares and a count", path=path, fix=REMAKE)
    return ColumnSums(squares, int(counts[0]))
