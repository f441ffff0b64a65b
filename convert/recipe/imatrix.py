"""Importance matrices: mean squared activations per column of a matrix, as llama-imatrix writes them.

A GGUF has tensors NAME.in_sum2 and NAME.counts. The older .dat has a count, then per entry: name length, name,
calls, number of values, values × calls; then the chunk count and the dataset's name. Source:
common/imatrix-loader.cpp and tools/quantize/quantize.cpp of llama.cpp.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from glm_gguf.errors import ImatrixError
from glm_gguf.gguf_file.header import GgufHeader
from glm_gguf.gguf_file.values import TextArray, integer, text
from glm_gguf.regular_file import open_regular, read_regular

Floats = npt.NDArray[np.float32]
MAX_NAME = 1024
MAX_BYTES = 2**30  # a 32B model's has 20 MB
MAX_IMPORTANCE = 1e12
"""Squared activations of a working model are smaller; from about 1e15 on, ggml's i-quants abort the process."""
PART_OF_ATTENTION = re.compile(r"\.attn_[qkv]\.")
REMAKE = "make it again: glm-gguf imatrix, or llama-imatrix"


@dataclass(frozen=True, slots=True)
class Imatrix:
    """Per GGUF tensor name the importance (columns,) of its columns; the number of chunks and the datasets."""

    path: Path
    entries: Mapping[str, Floats]
    n_chunks: int
    datasets: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> Imatrix:
        """Read either form; raises ImatrixError, or GgufError for a malformed GGUF."""
        with open_regular(path, ImatrixError) as file:
            magic = file.read(4)
        found = _read_gguf(path) if magic == b"GGUF" else _read_dat(path)
        for name, values in found.entries.items():
            if not ((values >= 0) & (values <= MAX_IMPORTANCE)).all():
                odd = values[~((values >= 0) & (values <= MAX_IMPORTANCE))][0]
                raise ImatrixError(f"entry {name!r} holds {odd}, which is no mean of squares", path=path, fix=REMAKE)
        return found

    def widened(self, widths: Mapping[str, tuple[int, int]]) -> Imatrix:
        """The same for padded tensors (name → columns stored, and in the file): zeros have no importance."""
        found = {name: self.entries.get(name) for name in widths}
        padded = {
            name: np.pad(values, (0, widths[name][1] - widths[name][0]))
            for name, values in found.items()
            if values is not None and values.size == widths[name][0]  # one of a padded file is as wide already
        }
        return replace(self, entries={**self.entries, **padded})

    def columns(self, name: str, n_columns: int) -> Floats | None:
        """The importance of a tensor's columns, None without an entry; raises ImatrixError for another width."""
        values = self.entries.get(name)
        if values is None:  # measured on a file whose query, key and value are one matrix: they read the same columns
            values = self.entries.get(PART_OF_ATTENTION.sub(".attn_qkv.", name))
        if values is not None and values.size != n_columns:
            if name == "token_embd.weight":  # llama.cpp ignores this one
                return None
            raise ImatrixError(
                f"entry {name!r} has {values.size} values, the tensor {n_columns} columns",
                path=self.path,
                fix="it was made for another model",
            )
        return values


def _read_gguf(path: Path) -> Imatrix:
    header = GgufHeader.read(path)
    if text(header.metadata, "general.type") != "imatrix":
        raise ImatrixError("this GGUF holds no importance matrix", path=path, fix=REMAKE)
    arrays: dict[str, Floats] = {}
    data = read_regular(path, MAX_BYTES, ImatrixError, "this is no importance matrix")
    for tensor in header.tensors:
        if tensor.type.name != "f32":
            raise ImatrixError(f"tensor {tensor.name!r} is {tensor.type.name}, not f32", path=path, fix=REMAKE)
        arrays[tensor.name] = np.frombuffer(data, "<f4", tensor.n_bytes // 4, tensor.offset)
    entries = {
        name.removesuffix(".in_sum2"): _mean(name, sums, arrays, path)
        for name, sums in arrays.items()
        if name.endswith(".in_sum2")
    }
    if not entries:
        raise ImatrixError("it holds no entry", path=path, fix=REMAKE)
    datasets = header.metadata.get("imatrix.datasets")
    names = datasets.items if isinstance(datasets, TextArray) else ()
    n_chunks = integer(header.metadata, "imatrix.chunk_count") or 0
    if not 0 <= n_chunks < 2**32:
        raise ImatrixError(f"imatrix.chunk_count is {n_chunks}", path=path, fix=REMAKE)
    return Imatrix(path, entries, n_chunks, names)


def _mean(name: str, sums: Floats, arrays: Mapping[str, Floats], path: Path) -> Floats:
    counts = arrays.get(name.removesuffix(".in_sum2") + ".counts")
    if counts is None or counts.size != 1:
        raise ImatrixError(f"{name!r} has no single count beside it", path=path, fix="experts do not occur in GLM-4")
    if not 0 <= counts[0] < np.inf:
        raise ImatrixError(f"{name!r} has the count {counts[0]}", path=path, fix=REMAKE)
    # no token reached the matrix: all its columns weigh alike
    with np.errstate(over="ignore"):  # the check of the values refuses infinity
        return sums / counts[0] if counts[0] > 0 else np.ones_like(sums)


def _read_dat(path: Path) -> Imatrix:
    cursor = _Cursor(read_regular(path, MAX_BYTES, ImatrixError, "this is no importance matrix"), path)
    entries: dict[str, Floats] = {}
    count = cursor.integer("number of entries")
    if count < 1:
        raise ImatrixError(f"it claims {count} entries", path=path, fix="this is no importance matrix")
    for _ in range(count):
        name = cursor.text(cursor.integer("name length"))
        calls = cursor.integer(f"calls of {name!r}")
        values = cursor.floats(cursor.integer(f"values of {name!r}"))
        entries[name] = values / np.float32(calls) if calls > 0 else values
    if cursor.finished:  # files before 2024-01 end here
        return Imatrix(path, entries, 0, ())
    chunks = cursor.integer("chunk count")
    datasets = () if cursor.finished else (cursor.text(cursor.integer("dataset length")),)
    return Imatrix(path, entries, chunks, datasets)


class _Cursor:
    """Reads a .dat front to back; checks every length against the bytes that are left."""

    def __init__(self, data: bytes, path: Path) -> None:
        self._data, self._path, self._at = data, path, 0

    @property
    def finished(self) -> bool:
        return self._at == len(self._data)

    def integer(self, what: str) -> int:
        (value,) = struct.unpack("<i", self._take(4, what))
        return int(value)

    def text(self, length: int) -> str:
        if length > MAX_NAME:
            raise ImatrixError(f"a name has {length} bytes", path=self._path, fix="this is no importance matrix")
        try:
            return self._take(length, "a name").decode("utf-8")
        except UnicodeDecodeError:
            raise ImatrixError(f"a name at byte {self._at} is not UTF-8", path=self._path, fix=REMAKE) from None

    def floats(self, n: int) -> Floats:
        return np.frombuffer(self._take(4 * n, f"{n} values"), "<f4")

    def _take(self, n: int, what: str) -> bytes:
        if n < 0 or n > len(self._data) - self._at:
            raise ImatrixError(f"{what} pass the end at byte {self._at}", path=self._path, fix=REMAKE)
        self._at += n
        return self._data[self._at - n : self._at]
