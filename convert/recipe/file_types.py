"""The file types that can be written, by the names a user can give, and what their GGML types need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from gguf import GGML_QUANT_SIZES, LlamaFileType
from gguf import GGMLQuantizationType as Type


@dataclass(frozen=True, slots=True)
class FileType:
    """A named mix of GGML types: llama.cpp's file type id and the type most matrices get."""

    name: str
    id: LlamaFileType
    base: Type


def _file_types() -> dict[str, FileType]:
    mixes = {
        **dict.fromkeys(("Q2_K", "Q2_K_S"), Type.Q2_K),
        **dict.fromkeys(("Q3_K_S", "Q3_K_M", "Q3_K_L"), Type.Q3_K),
        **dict.fromkeys(("Q4_K_S", "Q4_K_M"), Type.Q4_K),
        **dict.fromkeys(("Q5_K_S", "Q5_K_M"), Type.Q5_K),
        **dict.fromkeys(("IQ3_XS", "IQ3_S", "IQ3_M"), Type.IQ3_S),
        **dict.fromkeys(("IQ2_XS", "IQ2_S"), Type.IQ2_XS),  # as in llama_ftype_get_default_type
        "IQ2_M": Type.IQ2_S,
    }
    plain = "F32 F16 BF16 Q8_0 Q6_K Q5_1 Q5_0 Q4_1 Q4_0 IQ4_NL IQ4_XS IQ3_XXS IQ2_XXS IQ1_M IQ1_S TQ2_0 TQ1_0"
    bases = {**mixes, **{name: Type[name] for name in plain.split()}}
    prefix = {"F32": "ALL_"}
    return {
        name: FileType(name, LlamaFileType[prefix.get(name, "MOSTLY_") + name], base) for name, base in bases.items()
    }


FILE_TYPES: Mapping[str, FileType] = _file_types()
ALIASES: Mapping[str, str] = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}

UNQUANTISED = frozenset((Type.F32, Type.F16, Type.BF16))

NEEDS_IMATRIX = frozenset((Type.IQ1_S, Type.IQ1_M, Type.IQ2_XXS, Type.IQ2_XS, Type.IQ2_S, Type.IQ3_XXS))
"""Types that are garbage without an importance matrix (tensor_requires_imatrix)."""

ABORTS_WITHOUT_IMATRIX = frozenset((Type.IQ2_XXS, Type.IQ2_XS, Type.IQ1_S))
"""Types for which ggml_quantize_chunk ends the process without one (ggml_quantize_requires_imatrix)."""

LARGEST = 65504.0 * 127 * 127
"""The largest weight of any block format: a float16 scale times a 7-bit scale times a 7-bit value.
From about 1e12 on, ggml's i-quants compute infinities and abort the process."""


def divides(type_: Type, n_columns: int) -> bool:
    """Whether rows of `n_columns` weights divide into the type's blocks."""
    return n_columns % int(GGML_QUANT_SIZES[type_][0]) == 0


def tensor_bytes(type_: Type, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor of row-major `shape` in `type_`; the last dimension divides into its blocks."""
    block, size = GGML_QUANT_SIZES[type_]
    return prod(shape) // block * size
