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

WITHOUT_SEARCH = frozenset(GGMLQuantizationType[name] for name in ("Q8_0", "TQ1_0", "TQ2_0"))
OLDER = frozenset(GGMLQuantizationType[name] for name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1"))
"""Types that ggml rounds without a search; OLDER ones only without an importance matrix. In blocks with nothing above
about 1e-37 it converts infinity to an integer, which C leaves undefined: their samples have no such block."""

Quantise = Callable[[Floats, Floats | None], Bytes]
"""Rows (n, columns) and their importance (columns,) to (n, row_bytes)."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A type's digests (hexadecimal SHA-256), and the seeds of the rows that its sample has beside the common ones."""

    type: GGMLQuantizationType
    seeds: tuple[int, ...]
    plain: str | None
    """None for a type that ggml makes only with an importance matrix."""
    weighted: str

    def meets(self, quantise: Quantise, weighted: bool) -> bool:
        """Whether `quantise` gives the recorded bytes, with an importance matrix if `weighted`."""
        return self.digest(quantise, weighted) == (self.weighted if weighted else self.plain)

    def digest(self, quantise: Quantise, weighted: bool) -> str:
        """The digest of what `quantise` makes of the sample."""
        defined = self.type not in (WITHOUT_SEARCH if weighted else WITHOUT_SEARCH | OLDER)
        made = quantise(sample_rows(self.seeds, defined), sample_importance() if weighted else None)
        return sha256(made.tobytes()).hexdigest()


@cache
def references() -> Mapping[GGMLQuantizationType, Reference]:
    """What is recorded of every type that is written, but F32."""
    record = json.loads(RECORD.read_text("utf-8"))
    found = {}
    for name, entry in record.items():
        type_ = GGMLQuantizationType[name]
        found[type_] = Reference(type_, tuple(entry["seeds"]), entry["plain"], entry["weighted"])
    return found
