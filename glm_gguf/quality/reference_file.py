"""A reference's log probabilities on disk: coded as llama-perplexity codes them, compressed by chunk.

Each row of a chunk is a scale, the least log probability that is kept, and a code of 16 bits a token; what is more than
16 below the highest logit has the code 0. Source: log_softmax of tools/perplexity/perplexity.cpp. The high bytes of the
codes and the low ones are compressed apart: zlib finds more in them.
"""

from __future__ import annotations

import json
import math
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from glm_gguf.errors import RequestError
from glm_gguf.whole_file import UnfinishedFile

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint16]
MAGIC: Final = b"glm-gguf reference 1\n"
RANGE: Final = 16.0
HIGHEST_CODE: Final = 65535
LEVEL: Final = 1
"""Of zlib: its higher levels take many times as long for a few per cent."""
MOST_HEAD: Final = 2**20
MOST: Final = 2**24
"""Of the counts in a head: tokens of a vocabulary, of a chunk, and chunks."""
ROUNDING: Final = 1e-3
_LENGTH: Final = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class ReferenceHead:
    """What the log probabilities are of: the file, its vocabulary's hash, the texts, and how they were cut."""

    model: str
    vocabulary: str
    n_vocab: int
    texts: tuple[str, ...]
    chunk_tokens: int
    n_chunks: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "texts", tuple(self.texts))
        if not all(isinstance(text, str) for text in (self.model, self.vocabulary, *self.texts)):
            raise ValueError("names are no texts")
        counts = (self.n_vocab, self.chunk_tokens, self.n_chunks)
        if not all(type(count) is int and 0 < count < MOST for count in counts):
            raise ValueError(f"counts are {counts}")
        if self.n_rows < 1:
            raise ValueError(f"nothing is measured of chunks of {self.chunk_tokens} tokens")

    @property
    def n_rows(self) -> int:
        """Rows of a chunk: the first half of its tokens only gives the others a beginning, the last has no next."""
        return rows_of_chunk(self.chunk_tokens)


@dataclass(frozen=True, slots=True)
class CodedRows:
    """Log probabilities of some rows: scales and least values [rows], codes [rows, n_vocab]."""

    scales: Floats
    least: Floats
    codes: Codes

    @classmethod
    def of(cls, logits: Floats) -> Self:
        """Code the log probabilities of rows of logits [rows, n_vocab]."""
        highest = logits.max(axis=1)
        lowest = np.maximum(logits.min(axis=1), highest - np.float32(RANGE))
        log_sum = np.log(np.exp(logits - highest[:, None]).sum(axis=1, dtype=np.float64)).astype(np.float32)
        scales = (highest - lowest) / np.float32(HIGHEST_CODE)
        inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales > 0)
        steps = np.rint((np.maximum(logits, lowest[:, None]) - lowest[:, None]) * inverse[:, None])
        return cls(scales, lowest - highest - log_sum, steps.astype(np.uint16))

    def log_probabilities(self) -> Floats:
        """Return them, [rows, n_vocab]."""
        return self.codes * self.scales[:, None] + self.least[:, None]

    @classmethod
    def joined(cls, parts: Sequence[CodedRows]) -> Self:
        """Return several as one."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("scales", "least", "codes")))

    def part(self, rows: slice) -> CodedRows:
        """Return some of the rows."""
        return CodedRows(self.scales[rows], self.least[rows], self.codes[rows])


def rows_of_chunk(chunk_tokens: int) -> int:
    """Return how many tokens of a chunk are measured, as llama-perplexity does: those behind its first half."""
    return chunk_tokens - 1 - chunk_tokens // 2


def _plausible(scales: Floats, least: Floats) -> bool:
    """Tell whether these can be scales and least values of log probabilities; neither is NaN or infinite then."""
    wide = (scales >= 0) & (scales * HIGHEST_CODE <= RANGE * (1 + ROUNDING))
    return bool((wide & (least <= ROUNDING) & (least >= -RANGE - math.log(MOST) - ROUNDING)).all())


class ReferenceWriter:
    """Writes head, tokens and coded rows into a file; OutputError where the disk takes no more."""

    def __init__(self, file: UnfinishedFile, head: ReferenceHead, chunks: Sequence[Sequence[int]]) -> None:
        self._file = file
        text = json.dumps(asdict(head)).encode()
        file.write(MAGIC + _LENGTH.pack(len(text)) + text)
        self._part(np.array(chunks, "<i4").tobytes())

    def add(self, rows: CodedRows) -> None:
        """Append the rows of a chunk."""
        raw = rows.codes.astype("<u2").view(np.uint8).reshape(-1, 2)
        self._part(np.concatenate((rows.scales, rows.least)).astype("<f4").tobytes())
        for number in (0, 1):
            self._part(np.ascontiguousarray(raw[:, number]).tobytes())

    def _part(self, data: bytes) -> None:
        packed = zlib.compress(data, LEVEL)
        self._file.write(_LENGTH.pack(len(packed)) + packed)


class ReferenceReader:
    """Reads such a file from its front; RequestError for what is none, or is damaged."""

    def __init__(self, file: BufferedReader, path: Path) -> None:
        self._file, self._path = file, path
        self._left = os.fstat(file.fileno()).st_size
        if self._take(len(MAGIC)) != MAGIC:
            raise RequestError("these are no log probabilities of a reference", path=path)
        try:
            fields: dict[str, Any] = json.loads(self._take(min(self._length(), MOST_HEAD)))
            self.head = ReferenceHead(**fields)
        except (ValueError, TypeError, RecursionError) as error:
            raise self._damaged() from error
        tokens = np.frombuffer(self._part(4 * self.head.n_chunks * self.head.chunk_tokens), "<i4")
        if not ((tokens >= 0) & (tokens < self.head.n_vocab)).all():
            raise self._damaged()
        self.tokens = [tuple(map(int, row)) for row in tokens.reshape(self.head.n_chunks, -1)]

    def rows(self) -> Iterator[CodedRows]:
        """Yield the rows of each chunk."""
        rows, columns = self.head.n_rows, self.head.n_vocab
        for _ in range(self.head.n_chunks):
            heads = np.frombuffer(self._part(8 * rows), "<f4")
            if not _plausible(heads[:rows], heads[rows:]):
                raise self._damaged()
            raw = np.empty((rows * columns, 2), np.uint8)
            for number in (0, 1):
                raw[:, number] = np.frombuffer(self._part(rows * columns), np.uint8)
            codes = raw.reshape(-1).view("<u2").reshape(rows, columns)
            yield CodedRows(heads[:rows], heads[rows:], codes)

    def _part(self, n_bytes: int) -> bytes:
        """Read a compressed part of so many bytes."""
        reader = zlib.decompressobj()
        try:
            data = reader.decompress(self._take(self._length()), n_bytes)
        except zlib.error as error:
            raise self._damaged() from error
        if len(data) != n_bytes or not (reader.eof or reader.decompress(b"", 1) == b""):
            raise self._damaged()
        return data

    def _length(self) -> int:
        (length,) = _LENGTH.unpack(self._take(_LENGTH.size))
        return int(length)

    def _take(self, n_bytes: int) -> bytes:
        if n_bytes > self._left:
            raise self._damaged()
        data = self._file.read(n_bytes)
        self._left -= len(data)
        if len(data) != n_bytes:
            raise self._damaged()
        return data

    def _damaged(self) -> RequestError:
        return RequestError(
            "the log probabilities of the reference are damaged", path=self._path, fix="remove the file"
        )
