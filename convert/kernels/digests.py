"""Recorded digests of ggml's bytes on the sample, as ggml computes without fusing multiply and add.

Compilers fuse them where the processor can (aarch64), and such a ggml makes other bytes. scripts/record_digests.py
records the digests, with the seeds of sample rows that fusing changes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from gguf import GGMLQuantizationType

from glm_gguf.convert.kernels.ggml import Bytes, Floats
from glm_gguf.convert.kernels.samples import sample_importance, sample_rows

RECORD = Path(__file__).with_name("digests.json")

Quantise = Callable[[Floats, Floats | None], Bytes]
"""Rows (n, columns) and their importance (columns,) to (n, row_bytes)."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A type's digests (hexadecimal SHA-256), and the seeds of the rows that its sample has beside the common ones."""

    seeds: tuple[int, ...]
    plain: str | None
    """None for a type that ggml makes only with an importance matrix."""
    weighted: str

    def meets(self, quantise: Quantise, weighted: bool) -> bool:
        """Whether `quantise` gives the recorded bytes, with an importance matrix if `weighted`."""
        return self.digest(quantise, weighted) == (self.weighted if weighted else self.plain)

    def digest(self, quantise: Quantise, weighted: bool) -> str:
        """The digest of what `quantise` makes of the sample."""
        made = quantise(sample_rows(self.seeds), sample_importance() if weighted else None)
        return sha256(made.tobytes()).hexdigest()


@cache
def references() -> Mapping[GGMLQuantizationType, Reference]:
    """What is recorded of every type that is written, but F32."""
    record = json.loads(RECORD.read_text("utf-8"))
    return {
        GGMLQuantizationType[name]: Reference(tuple(entry["seeds"]), entry["plain"], entry["weighted"])
        for name, entry in record.items()
    }
