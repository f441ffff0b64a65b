"""The file type that a GGUF states: the mix of types that its tensors were quantised to."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from glm_gguf.gguf_file.values import Metadata, integer

FILE_TYPE_KEY: Final = "general.file_type"
FILE_TYPES: Final[Mapping[int, str]] = MappingProxyType(
    {
        **{0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 32: "BF16"},
        **{10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M"},
        **{16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 21: "Q2_K_S"},
        **{19: "IQ2_XXS", 20: "IQ2_XS", 28: "IQ2_S", 29: "IQ2_M", 24: "IQ1_S", 31: "IQ1_M"},
        **{22: "IQ3_XS", 23: "IQ3_XXS", 26: "IQ3_S", 27: "IQ3_M", 25: "IQ4_NL", 30: "IQ4_XS"},
        **{36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4", 40: "Q1_0"},
    }
)
"""Value of general.file_type → its name; enum llama_ftype of llama.h."""


def file_type(metadata: Metadata) -> str | None:
    """Return the name of the file type that a file states; None if it states none, or an unknown one."""
    number = integer(metadata, FILE_TYPE_KEY)
    return None if number is None else FILE_TYPES.get(number)
