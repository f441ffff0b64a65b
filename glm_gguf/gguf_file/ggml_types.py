"""The types a tensor can have: weights a block and bytes a block, as in ggml's type_traits (ggml.c)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class GgmlType:
    """A tensor type: `block_size` weights are stored in `block_bytes` bytes."""

    id: int
    name: str
    block_size: int
    block_bytes: int

    def __post_init__(self) -> None:
        if self.block_size < 1 or self.block_bytes < 1:
            raise ValueError(f"type {self.name} has an empty block")

    @property
    def bits_per_weight(self) -> float:
        """Bits that one weight takes, scales included."""
        return 8 * self.block_bytes / self.block_size

    @property
    def holds_weights(self) -> bool:
        """Whether ggml multiplies by such a tensor; the rest are for activations and indices."""
        return self.name not in NOT_FOR_WEIGHTS


NOT_FOR_WEIGHTS: Final = frozenset({"q8_1", "q8_K", "i8", "i16", "i32", "i64", "f64"})
"""Types without a matrix multiplication of their own: intermediate results and plain numbers."""

# Block layouts: ggml-common.h, struct block_*; names and ids: enum ggml_type of ggml.h and type_traits of ggml.c.
_TYPES = (
    GgmlType(0, "f32", 1, 4),
    GgmlType(1, "f16", 1, 2),
    GgmlType(2, "q4_0", 32, 18),
    GgmlType(3, "q4_1", 32, 20),
    GgmlType(6, "q5_0", 32, 22),
    GgmlType(7, "q5_1", 32, 24),
    GgmlType(8, "q8_0", 32, 34),
    GgmlType(9, "q8_1", 32, 36),
    GgmlType(10, "q2_K", 256, 84),
    GgmlType(11, "q3_K", 256, 110),
    GgmlType(12, "q4_K", 256, 144),
    GgmlType(13, "q5_K", 256, 176),
    GgmlType(14, "q6_K", 256, 210),
    GgmlType(15, "q8_K", 256, 292),
    GgmlType(16, "iq2_xxs", 256, 66),
    GgmlType(17, "iq2_xs", 256, 74),
    GgmlType(18, "iq3_xxs", 256, 98),
    GgmlType(19, "iq1_s", 256, 50),
    GgmlType(20, "iq4_nl", 32, 18),
    GgmlType(21, "iq3_s", 256, 110),
    GgmlType(22, "iq2_s", 256, 82),
    GgmlType(23, "iq4_xs", 256, 136),
    GgmlType(24, "i8", 1, 1),
    GgmlType(25, "i16", 1, 2),
    GgmlType(26, "i32", 1, 4),
    GgmlType(27, "i64", 1, 8),
    GgmlType(28, "f64", 1, 8),
    GgmlType(29, "iq1_m", 256, 56),
    GgmlType(30, "bf16", 1, 2),
    GgmlType(34, "tq1_0", 256, 54),
    GgmlType(35, "tq2_0", 256, 66),
    GgmlType(39, "mxfp4", 32, 17),
    GgmlType(40, "nvfp4", 64, 36),
    GgmlType(41, "q1_0", 128, 18),
    GgmlType(42, "q2_0", 64, 18),
)

TYPES: Final[Mapping[int, GgmlType]] = MappingProxyType({kind.id: kind for kind in _TYPES})
"""Id in the file → type."""

REMOVED: Final[Mapping[int, str]] = MappingProxyType(
    {
        4: "q4_2",
        5: "q4_3",
        31: "q4_0_4_4",
        32: "q4_0_4_8",
        33: "q4_0_8_8",
        36: "iq4_nl_4_4",
        37: "iq4_nl_4_8",
        38: "iq4_nl_8_8",
    }
)
"""Ids that llama.cpp once wrote and no longer reads."""

TYPE_COUNT: Final = 43
"""GGML_TYPE_COUNT of the bundled ggml: ids from here on are unknown to it."""
